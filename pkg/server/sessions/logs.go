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
			if pod.StatusOf(&p.Status, container) == nil {
				return notStarted(p, container)
			}
			return fmt.Errorf("previous terminated container %q in pod %q not found", container, p.Name)
		}
		return notStarted(p, container)
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

// notStarted says why a container has no log.
func notStarted(p *v1.Pod, container string) error {
	c := pod.StatusOf(&p.Status, container)
	switch {
	case c == nil:
		return fmt.Errorf("container %q in pod %q is not available", container, p.Name)
	case c.State.Waiting == nil:
		return fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", container, p.Name)
	}
	why := c.State.Waiting.Reason
	switch why {
	case "ErrImagePull":
		why = "image can't be pulled"
	case "ImagePullBackOff":
		why = "trying and failing to pull image"
	}
	return fmt.Errorf("container %q in pod %q is waiting to start: %s", container, p.Name, why)
}

// betweenRuns reports whether a container waits for its next run: the newest run is then the previous one, too.
func betweenRuns(p *v1.Pod, container string) bool {
	c := pod.StatusOf(&p.Status, container)
	return c != nil && c.State.Waiting != nil
}

// removedRun is the number of a container's previous run when a restart of all containers has removed it from the runtime;
// its log is kept.
func removedRun(p *v1.Pod, container string) (uint32, bool) {
	spec, _ := pod.SpecOf(p, container)
	if spec == nil || !slices.ContainsFunc(p.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.AllContainersRestarting }) {
		return 0, false
	}
	c := pod.StatusOf(&p.Status, container)
	if c == nil || c.LastTerminationState.Terminated == nil {
		return 0, false
	}
	n := c.RestartCount
	if c.State.Waiting == nil {
		n--
	}
	return uint32(max(n, 0)), n >= 0
}
