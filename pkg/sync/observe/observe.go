// Package observe looks at a pod for its loop: at the runtime, and at what this node's file systems have of it. It changes
// nothing and decides nothing.
package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

// Observer is a loop.Observer.
type Observer struct {
	CRI     *cri.Observer
	Volumes *volumes.Volumes
	Cgroups *cgroups.Tree
	Root    string // the agent's directory
	// Unclear is told, once for each text, of a pod that the runtime does not tell about as it should.
	Unclear func(uid types.UID, err error)

	told sync.Map // by UID: the text of the last look
}

// Runtime returns the sandboxes and containers of a pod, newest first.
func (o *Observer) Runtime(ctx context.Context, uid types.UID) ([]pod.Sandbox, []pod.Container, error) {
	sandboxes, containers, err := o.CRI.Observe(ctx, string(uid))
	if !errors.Is(err, cri.ErrPodStatus) {
		o.told.Delete(uid)
		return sandboxes, containers, err
	}
	if before, _ := o.told.Swap(uid, err.Error()); before != err.Error() {
		o.Unclear(uid, err)
	}
	return nil, nil, err
}

// Local returns what this node's file systems have of a pod.
func (o *Observer) Local(uid types.UID) (pod.Observed, error) {
	mounts, err := o.Volumes.Observe(uid)
	if err != nil {
		return pod.Observed{}, err
	}
	_, err = os.Stat(filepath.Join(o.Root, "pods", string(uid)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return pod.Observed{}, fmt.Errorf("cannot look for the pod's directory: %w", err)
	}
	cgroup := o.Cgroups.ExistsPod(uid)
	return pod.Observed{Mounts: mounts, Cgroup: cgroup, CgroupLeft: cgroup || o.Cgroups.LeftOfPod(uid), Dir: err == nil}, nil
}

// Refresh lets the next Runtime ask the runtime again.
func (o *Observer) Refresh(uid types.UID) { o.CRI.Refresh(string(uid)) }
