// Package observe looks at a pod for its loop: at the runtime, and at what this node's file systems have of it. It changes
// nothing and decides nothing.
package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
}

// Runtime returns the sandboxes and containers of a pod, newest first. Its error is of the class Unclear for a pod that the
// runtime does not tell about as it should.
func (o *Observer) Runtime(ctx context.Context, uid types.UID) ([]pod.Sandbox, []pod.Container, error) {
	sandboxes, containers, err := o.CRI.Observe(ctx, string(uid))
	if errors.Is(err, cri.ErrPodStatus) {
		err = &pod.Error{Class: pod.Unclear, Err: err}
	}
	return sandboxes, containers, err
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

// Renew makes the pod's volumes due.
func (o *Observer) Renew(uid types.UID) { o.Volumes.Changed(uid) }
