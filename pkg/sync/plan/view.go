package plan

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// state is how far the newest attempt at a container has come.
type state int

const (
	absent  state = iota // no attempt has run
	created              // made and never started
	running              // may have a process
	exited               // has run and ended, or has run and is lost
)

// view is all that is known of one container of the specification.
type view struct {
	role  pod.Role
	spec  *v1.Container
	state state
	c     *pod.Container // the newest attempt; nil: absent or lost
	here  bool           // c lives in the current sandbox
	alive bool           // some attempt may have a process

	exit     int32 // exited
	started  time.Time
	finished time.Time // zero when nobody saw the end

	next  uint32 // number of the next attempt
	begun bool   // the next attempt was decided upon: it runs whatever the last exit says
}

// lostExit is the exit code of a container that ran and cannot be found.
const lostExit = 137

// view gathers what is known of a container: what the runtime has, else what was reported last, and what the record
// counts. An attempt that was begun and left no trace does not raise the number: it never ran.
func (p *pass) view(role pod.Role, c *v1.Container) view {
	v := view{role: role, spec: c}
	var ran *pod.Container
	for i := range p.in.Observed.Containers {
		o := &p.in.Observed.Containers[i]
		if o.Name != c.Name {
			continue
		}
		if v.c == nil {
			v.c = o
			v.here = p.box != nil && o.SandboxID == p.box.ID
		}
		n := o.Attempt
		if o.State != pod.ContainerCreated {
			n++
			if ran == nil {
				ran = o
			}
		}
		v.next = max(v.next, n)
		v.alive = v.alive || mayRun(o)
	}
	v.judge(ran, statusOf(&p.in.Record.Status, c.Name))
	begun := p.in.Record.Attempts[c.Name]
	if begun > 0 {
		v.next = max(v.next, begun-1)
	}
	v.begun = begun > v.next
	return v
}

// judge derives the state from the newest attempt, the newest that has run and the last report.
func (v *view) judge(ran *pod.Container, last *v1.ContainerStatus) {
	lost := false
	if last != nil {
		n := uint32(max(last.RestartCount, 0))
		if last.ContainerID != "" {
			lost = ran == nil || n > ran.Attempt
			n++
		}
		v.next = max(v.next, n)
	}
	switch {
	case v.c != nil && v.c.State == pod.ContainerCreated:
		v.state = created
	case lost:
		v.c, v.here, v.state = nil, false, exited
		v.exit, v.started, v.finished = lastExit(last)
	case ran == nil:
	case mayRun(ran):
		v.state, v.started = running, ran.StartedAt
	default:
		v.state = exited
		v.exit, v.started, v.finished = ran.ExitCode, ran.StartedAt, ran.FinishedAt
	}
}

// lastExit is how a lost container ended, as far as it was reported.
func lastExit(s *v1.ContainerStatus) (code int32, started, finished time.Time) {
	t := s.State.Terminated
	if t == nil && s.State.Running == nil {
		t = s.LastTerminationState.Terminated
	}
	if t == nil {
		return lostExit, time.Time{}, time.Time{}
	}
	return t.ExitCode, t.StartedAt.Time, t.FinishedAt.Time
}

// mayRun reports whether a container may have a process.
func mayRun(c *pod.Container) bool {
	return c.State == pod.ContainerRunning || c.State == pod.ContainerUnknown
}

// ran reports whether any attempt has run.
func (v *view) ran() bool { return v.state == running || v.state == exited }

// statusOf finds what was last reported of a container.
func statusOf(s *v1.PodStatus, name string) *v1.ContainerStatus {
	for _, list := range [...][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// sameID reports whether a status speaks of a container: its ID has the runtime's name before it.
func sameID(s *v1.ContainerStatus, id string) bool {
	_, bare, _ := strings.Cut(s.ContainerID, "://")
	return id != "" && bare == id
}
