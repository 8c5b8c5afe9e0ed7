package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// ReadLog finds the log of a container's current or previous run and copies it.
func (s Sessions) ReadLog(ctx context.Context, w io.Writer, p *v1.Pod, container string, o *v1.PodLogOptions) error {
	_, containers, err := s.Observer.Observe(ctx, string(p.UID))
	if err != nil {
		return err
	}
	var runs []pod.Container
	for _, c := range containers {
		if c.Name == container && c.State != pod.ContainerCreated {
			runs = append(runs, c)
		}
	}
	which := 0
	if o.Previous && !betweenRuns(p, container) {
		which = 1
	}
	if n, ok := removedRun(p, container); o.Previous && which >= len(runs) && ok {
		runs, which = []pod.Container{{Attempt: n, State: pod.ContainerExited}}, 0
	}
	if which >= len(runs) {
		if o.Previous {
			return fmt.Errorf("previous terminated container %q in pod %q not found", container, p.Name)
		}
		return fmt.Errorf("container %q in pod %q is waiting to start", container, p.Name)
	}
	run := runs[which]
	opts := logs.Options{Follow: o.Follow && run.State == pod.ContainerRunning, Timestamps: o.Timestamps, TailLines: o.TailLines, LimitBytes: o.LimitBytes}
	switch {
	case o.SinceTime != nil:
		opts.Since = o.SinceTime.Time
	case o.SinceSeconds != nil:
		opts.Since = time.Now().Add(-pod.Seconds(*o.SinceSeconds))
	}
	path := filepath.Join(cri.PodLogDir(s.PodLogs, p), cri.ContainerLogPath(container, run.Attempt))
	running := func(ctx context.Context, id string) (bool, error) {
		st, err := s.Runtime.ContainerStatus(ctx, id)
		if errors.Is(err, cri.ErrNotFound) {
			return false, nil
		}
		return err != nil || st.GetFinishedAt() == 0, nil
	}
	return logs.Read(ctx, logs.Log{Path: path, ID: run.ID, Running: running}, opts, w, w)
}

// betweenRuns reports whether a container waits for its next run: the newest run is then the previous one, too.
func betweenRuns(p *v1.Pod, container string) bool {
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == container {
				return c.State.Waiting != nil
			}
		}
	}
	return false
}

// removedRun is the number of a container's previous run when a restart of all containers has removed it from the runtime;
// its log is kept.
func removedRun(p *v1.Pod, container string) (uint32, bool) {
	spec, _ := pod.SpecOf(p, container)
	if spec == nil || !slices.ContainsFunc(p.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.AllContainersRestarting }) {
		return 0, false
	}
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == container && c.LastTerminationState.Terminated != nil {
				n := c.RestartCount
				if c.State.Waiting == nil {
					n--
				}
				return uint32(max(n, 0)), n >= 0
			}
		}
	}
	return 0, false
}
