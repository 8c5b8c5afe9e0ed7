package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// view is what a pass knows of one container of the specification.
type view struct {
	role  pod.Role
	spec  *v1.Container
	h     pod.History
	state pod.Stage
	c     *pod.Container // the newest attempt; nil: there is none, or it is lost
	here  bool           // c lives in the current sandbox

	exit     int32 // Ended
	started  time.Time
	finished time.Time // zero when nobody saw the end

	next  uint32 // number of the next attempt
	begun bool   // the next attempt was decided upon: it runs whatever the last exit says
}

// view reads a container's history and what the record counts of it. An attempt that was begun and left no trace does not
// raise the number: it never ran.
func (p *pass) view(role pod.Role, c *v1.Container) view {
	h := pod.HistoryOf(&p.in.Observed, &p.in.Record.Status, c.Name)
	v := view{role: role, spec: c, h: h, state: h.Stage(), c: h.Newest, next: h.Next()}
	switch {
	case v.state == pod.Ended:
		if h.Lost {
			v.c = nil
		}
		v.exit, v.started, v.finished = h.End()
	case v.state == pod.Running:
		v.started = h.Ran.StartedAt
	}
	v.here = v.c != nil && p.box != nil && v.c.SandboxID == p.box.ID
	begun := p.in.Record.Attempts[c.Name]
	if begun > 0 {
		v.next = max(v.next, begun-1)
	}
	v.begun = begun > v.next
	return v
}

// ran reports whether any attempt has run.
func (v *view) ran() bool { return v.state == pod.Running || v.state == pod.Ended }
