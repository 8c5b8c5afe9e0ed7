package main

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
)

// reporter hands statuses to the writer, and lets go of what only a living pod needs.
type reporter struct {
	writer  *writer.Writer
	runtime *cri.Observer
	objects objectParts
	changed func()
	starts  *activity.Starts
}

func (r *reporter) Report(p *v1.Pod, s v1.PodStatus) {
	r.writer.Report(p, s)
	r.starts.Report(p, s)
	r.changed()
}

func (r *reporter) Finished(p *v1.Pod) {
	r.writer.Finished(p)
	r.starts.Forget(p)
	r.runtime.Forget(string(p.UID))
	if r.objects.api != nil {
		r.objects.api.Unreference(p.UID)
		r.objects.issuer.Forget(p.UID)
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
