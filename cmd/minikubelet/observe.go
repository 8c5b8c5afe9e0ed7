package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

// observer looks at a pod for its loop: at the runtime, and at this node's file systems.
type observer struct {
	runtime *cri.Observer
	volumes *volumes.Volumes
	cgroups *cgroups.Tree
	root    string
}

func (o *observer) Runtime(ctx context.Context, uid types.UID) ([]pod.Sandbox, []pod.Container, error) {
	return o.runtime.Observe(ctx, string(uid))
}

func (o *observer) Local(uid types.UID) (pod.Observed, error) {
	mounts, err := o.volumes.Observe(uid)
	if err != nil {
		return pod.Observed{}, err
	}
	_, err = os.Stat(filepath.Join(o.root, "pods", string(uid)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return pod.Observed{}, fmt.Errorf("cannot look for the pod's directory: %w", err)
	}
	cgroup := o.cgroups.ExistsPod(uid)
	return pod.Observed{Mounts: mounts, Cgroup: cgroup, CgroupLeft: cgroup || o.cgroups.LeftOfPod(uid), Dir: err == nil}, nil
}

func (o *observer) Refresh(uid types.UID) { o.runtime.Refresh(string(uid)) }

// reporter hands statuses to the writer, and lets go of what only a living pod needs.
type reporter struct {
	writer  *writer.Writer
	runtime *cri.Observer
	api     apiSide
	changed func()
	starts  *metrics.Starts
}

func (r *reporter) Report(p *v1.Pod, s v1.PodStatus) {
	r.writer.Report(p, s)
	r.starts.Report(p, s.Phase)
	r.changed()
}

func (r *reporter) Finished(p *v1.Pod) {
	r.writer.Finished(p)
	r.starts.Forget(p)
	r.runtime.Forget(string(p.UID))
	if r.api.objects != nil {
		r.api.objects.Unreference(p.UID)
		r.api.issuer.Forget(p.UID)
	}
	r.changed()
}

// execProbe runs a probe's command through CRI.
func execProbe(c *cri.Client) func(ctx context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int, error) {
	return func(ctx context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int, error) {
		r, err := c.ExecSync(ctx, id, cmd, timeout)
		if errors.Is(err, cri.ErrTimeout) {
			err = context.DeadlineExceeded
		}
		return append(r.Stdout, r.Stderr...), int(r.ExitCode), err
	}
}
