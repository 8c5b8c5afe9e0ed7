package act

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// stopContainer runs the preStop hook, sends SIGTERM and has the runtime kill what still runs at the deadline. A hook that
// fails is an event and stops nothing. One that is not over at the deadline goes on until the container ends, which has a
// last moment then.
func (e *Executor) stopContainer(ctx context.Context, in plan.Input, a plan.Action) error {
	grace := time.Until(a.Deadline)
	e.cfg.Event(in.Desired.Pod, a.Name, v1.EventTypeNormal, "Killing", cmp.Or(a.Reason, "Stopping container "+a.Name))
	if grace <= 0 {
		return e.cfg.Runtime.StopContainer(ctx, a.ID, 0)
	}
	if a.PreStop {
		over := make(chan struct{})
		var hook sync.WaitGroup
		defer hook.Wait()
		hook.Go(func() {
			defer close(over)
			_ = e.preStop(ctx, in, a) // told as an event
		})
		select {
		case <-over:
		case <-time.After(grace):
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return e.cfg.Runtime.StopContainer(ctx, a.ID, max(time.Until(a.Deadline), plan.LastMoment))
}

// preStop runs the hook for as long as its container can live: to the deadline and a last moment. A sleep does nothing in the
// container and ends with the deadline. It returns an error only when the action was cancelled.
func (e *Executor) preStop(ctx context.Context, in plan.Input, a plan.Action) error {
	c, _ := pod.SpecOf(in.Desired.Pod, a.Name)
	if c == nil || c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return nil
	}
	end := a.Deadline
	if c.Lifecycle.PreStop.Sleep == nil {
		end = end.Add(plan.LastMoment)
	}
	hctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if err := e.hook(hctx, c.Lifecycle.PreStop, hooked{in.Desired.Pod, c, a.ID, primary(e.addresses(in))}); err != nil && ctx.Err() == nil {
		e.cfg.Event(in.Desired.Pod, c.Name, v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: "+err.Error())
	}
	return ctx.Err()
}

// removeContainer removes a dead container, its log and the link to that.
func (e *Executor) removeContainer(ctx context.Context, in plan.Input, a plan.Action) error {
	if err := e.cfg.Runtime.RemoveContainer(ctx, a.ID); err != nil {
		return err
	}
	p, c := in.Desired.Pod, in.Observed.ByID(a.ID)
	if c == nil || p.Name == "" {
		return nil
	}
	log := filepath.Join(cri.PodLogDir(e.cfg.Paths.PodLogs, p), cri.ContainerLogPath(c.Name, c.Attempt))
	link := filepath.Join(e.cfg.Paths.ContainerLogs, logs.LinkName(p.Name, p.Namespace, c.Name, c.ID))
	if a.KeepLog {
		return e.removeEarlierLogs(filepath.Dir(log), c.Attempt)
	}
	return errors.Join(remove(link), remove(log))
}

// removeEarlierLogs keeps the last log of a container that is removed while its pod goes on, and the link to it.
func (e *Executor) removeEarlierLogs(dir string, last uint32) error {
	return errors.Join(logs.RemoveEarlier(dir, last), logs.UnlinkDangling(e.cfg.Paths.ContainerLogs, dir))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
