package sources

import (
	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// Update is all that one source says at one moment. It replaces what the source said before. Its objects are shared and
// never changed.
type Update struct {
	Source         pod.Source
	Pods           []*v1.Pod
	ConfigMaps     []*v1.ConfigMap
	Secrets        []*v1.Secret
	Volumes        []*v1.PersistentVolume
	VolumeClaims   []*v1.PersistentVolumeClaim
	RuntimeClasses []*nodev1.RuntimeClass
	Problems       []manifest.Problem

	// Partial says that a part of the source was never read since this process started, so that pods that run from
	// before may belong to it. Only such pods are to be kept; what this process has seen in a source and no longer sees
	// was removed.
	Partial bool
}

// add takes an object of a manifest in.
func (u *Update) add(o manifest.Object) {
	switch {
	case o.Pod != nil:
		u.Pods = append(u.Pods, o.Pod)
	case o.ConfigMap != nil:
		u.ConfigMaps = append(u.ConfigMaps, o.ConfigMap)
	case o.Secret != nil:
		u.Secrets = append(u.Secrets, o.Secret)
	case o.Volume != nil:
		u.Volumes = append(u.Volumes, o.Volume)
	case o.RuntimeClass != nil:
		u.RuntimeClasses = append(u.RuntimeClasses, o.RuntimeClass)
	case o.VolumeClaim != nil:
		u.VolumeClaims = append(u.VolumeClaims, o.VolumeClaim)
	}
}
