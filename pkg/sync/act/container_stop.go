package act

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// minAfterPreStop is what is left for SIGTERM when a preStop hook has used the grace period up.
const minAfterPreStop = 2 * time.Second

// stopContainer runs the preStop hook, sends SIGTERM and has the runtime kill what still runs at the deadline. A hook that
// fails is an event and stops nothing.
func (e *Executor) stopContainer(ctx context.Context, in plan.Input, a plan.Action) error {
	p := in.Desired.Pod
	grace := time.Until(a.Deadline)
	e.cfg.Event(p, a.Name, v1.EventTypeNormal, "Killing", cmp.Or(a.Reason, "Stopping container "+a.Name))
	if a.PreStop && grace > 0 {
		if err := e.preStop(ctx, in, a); err != nil {
			return err
		}
		grace = max(time.Until(a.Deadline), minAfterPreStop)
	}
	return e.cfg.Runtime.StopContainer(ctx, a.ID, max(grace, 0))
}

// preStop returns an error only when the action was cancelled.
func (e *Executor) preStop(ctx context.Context, in plan.Input, a plan.Action) error {
	c, _ := pod.SpecOf(in.Desired.Pod, a.Name)
	if c == nil || c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return nil
	}
	hctx, cancel := context.WithDeadline(ctx, a.Deadline)
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
