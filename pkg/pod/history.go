package pod

import (
	"iter"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// History is what is known of one container of the specification: its attempts as the runtime has them, and what was
// reported of it last. The plan and the status both read it, so that they cannot disagree.
type History struct {
	Newest   *Container          // the newest attempt
	Ran      *Container          // the newest attempt that has run
	Before   *Container          // the attempt that ran before Ran
	Reported *v1.ContainerStatus // the last report
	Alive    bool                // an attempt may have a process
	Lost     bool                // a run was reported, and the runtime has neither it nor a later one
}

// Stage is how far the newest attempt at a container has come.
type Stage int

// The stages of a container.
const (
	Absent  Stage = iota // no attempt has run
	Created              // made and not started
	Running              // may have a process
	Ended                // has run and ended, or has run and is lost
)

// What is said of a run whose end nobody saw: it is taken for killed.
const (
	ExitLost   = 137
	ReasonLost = "ContainerStatusUnknown"
)

// HistoryOf gathers what is known of a container. It refers to the memory of both arguments.
func HistoryOf(o *Observed, last *v1.PodStatus, name string) History {
	h := History{Reported: StatusOf(last, name)}
	for i := range o.Containers {
		c := &o.Containers[i]
		if c.Name != name {
			continue
		}
		h.Alive = h.Alive || c.MayRun()
		if h.Newest == nil {
			h.Newest = c
		}
		switch {
		case c.State == ContainerCreated:
		case h.Ran == nil:
			h.Ran = c
		case h.Before == nil:
			h.Before = c
		}
	}
	h.Lost = h.reportedRun() && (h.Ran == nil || h.Ran.Attempt < reportedCount(h.Reported) && !h.Same(h.Ran))
	return h
}

// Stage is the stage of the newest attempt.
func (h *History) Stage() Stage {
	switch {
	case h.Newest != nil && h.Newest.State == ContainerCreated:
		return Created
	case h.Lost:
		return Ended
	case h.Ran == nil:
		return Absent
	case h.Ran.MayRun():
		return Running
	}
	return Ended
}

// RestartCount is the number of the newest run. It never goes back.
func (h *History) RestartCount() uint32 {
	n := reportedCount(h.Reported)
	if h.Ran != nil {
		n = max(n, h.Ran.Attempt)
	}
	return n
}

// Next is the number of the next run. An attempt that was made and has not run does not raise it.
func (h *History) Next() uint32 {
	n := h.RestartCount()
	if h.Ran != nil || h.reportedRun() {
		n++
	}
	if h.Newest != nil {
		n = max(n, h.Newest.Attempt)
	}
	return n
}

// End is how the newest run ended. The times are zero where nobody saw them.
func (h *History) End() (code int32, started, finished time.Time) {
	if h.Lost {
		t := EndOf(h.Reported)
		return t.ExitCode, t.StartedAt.Time, t.FinishedAt.Time
	}
	return h.Ran.ExitCode, h.Ran.StartedAt, h.Ran.FinishedAt
}

// Same reports whether the last report is of this very attempt.
func (h *History) Same(c *Container) bool {
	return h.Reported != nil && c != nil && c.ID != "" && BareID(h.Reported.ContainerID) == c.ID
}

// Started reports whether the newest run counts as started: its postStart hook is done and its startup probe has
// succeeded, as far as it has them (KEP-753). Without a verdict of the probe, what was reported of this very run holds, so
// that a restart of the agent changes nothing.
func (h *History) Started(spec *v1.Container, hooks Hooks, probes Probes) bool {
	if spec.Lifecycle != nil && spec.Lifecycle.PostStart != nil && hooks.PostStart != HookDone {
		return false
	}
	if spec.StartupProbe == nil || probes.Startup != "" {
		return spec.StartupProbe == nil || probes.Startup == Success
	}
	return h.ReportedStarted()
}

// ReportedStarted reports whether the last report says that the newest run has started.
func (h *History) ReportedStarted() bool {
	return h.Same(h.Ran) && h.Reported.Started != nil && *h.Reported.Started
}

func (h *History) reportedRun() bool { return h.Reported != nil && h.Reported.ContainerID != "" }

// reportedCount is a reported restart count; one that an API server was given may be anything.
func reportedCount(s *v1.ContainerStatus) uint32 {
	if s == nil {
		return 0
	}
	return uint32(max(s.RestartCount, 0))
}

// EndOf is how a container that cannot be found has ended, as far as its last report tells.
func EndOf(s *v1.ContainerStatus) *v1.ContainerStateTerminated {
	if t := s.State.Terminated; t != nil {
		return t.DeepCopy()
	}
	if t := s.LastTerminationState.Terminated; t != nil && s.State.Running == nil {
		return t.DeepCopy()
	}
	t := &v1.ContainerStateTerminated{
		ExitCode: ExitLost, Reason: ReasonLost, Message: "The container could not be located when the pod was looked at; it used to be running",
		ContainerID: s.ContainerID,
	}
	if r := s.State.Running; r != nil {
		t.StartedAt = r.StartedAt
	}
	return t
}

// Statuses yields what a status says of each container, in the order of Spec. The values are the status's own.
func Statuses(s *v1.PodStatus) iter.Seq[*v1.ContainerStatus] {
	return func(yield func(*v1.ContainerStatus) bool) {
		for _, list := range [...][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// StatusOf is what a status says of a container, or nil.
func StatusOf(s *v1.PodStatus, name string) *v1.ContainerStatus {
	for c := range Statuses(s) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// BareID is a container's ID as its runtime has it: a status writes the runtime's name and :// before it.
func BareID(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		return bare
	}
	return id
}

// MayRun reports whether a container may have a process.
func (c *Container) MayRun() bool {
	return c.State == ContainerRunning || c.State == ContainerUnknown
}
