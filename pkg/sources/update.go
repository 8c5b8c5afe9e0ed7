package sources

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// Update is all that one source says at one moment. It replaces what the source said before. Its objects are shared and
// never changed.
type Update struct {
	Source   pod.Source
	Pods     []*v1.Pod
	Objects  []objects.Object // all others
	Problems []manifest.Problem

	// Partial says that a part of the source was never read since this process started, so that pods that run from
	// before may belong to it. Only such pods are to be kept; what this process has seen in a source and no longer sees
	// was removed.
	Partial bool
}

// add takes an object of a manifest in.
func (u *Update) add(o manifest.Object) {
	if p, ok := o.Object.(*v1.Pod); ok {
		u.Pods = append(u.Pods, p)
		return
	}
	u.Objects = append(u.Objects, o.Object)
}
