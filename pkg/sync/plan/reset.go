package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// ReasonRestart is why a container waits, or was killed, while all containers of its pod are being restarted.
const ReasonRestart = "RestartingAllContainers"

// restartAll orders the restart of all containers when one has ended with an exit code that asks for it (KEP-5532). That
// one waits as after any crash; it is the only one that did something wrong. The order is in the record before anything
// is done about it, because what it rests on is removed.
func (p *pass) restartAll() {
	if p.rec.Restart != nil {
		return
	}
	for i := range p.views {
		v := &p.views[i]
		if v.role == pod.Ephemeral || v.state != pod.Ended || v.begun || ruled(v.spec, v.exit) != v1.ContainerRestartRuleActionRestartAllContainers {
			continue
		}
		p.begin(v)
		p.rec.Restart = &pod.Restart{By: v.spec.Name, At: p.in.Now}
		return
	}
}

// reset takes away every init, sidecar and main container, with neither a hook nor a grace period, and reports whether
// all are gone. The pod then starts from its first init container, in the sandbox and on the volumes that it has. An
// ephemeral container goes on.
func (p *pass) reset() bool {
	left := false
	for i := range p.views {
		v := &p.views[i]
		if v.role == pod.Ephemeral {
			continue
		}
		left = left || p.flying(Action{Kind: ContainerStart, Name: v.spec.Name}.Key())
		if v.ran() {
			p.again(v)
		}
	}
	for i := range p.in.Observed.Containers {
		c := &p.in.Observed.Containers[i]
		v := p.named(c.Name)
		if v == nil || v.role == pod.Ephemeral {
			continue
		}
		left = true
		switch {
		case c.MayRun():
			p.do(Action{
				Kind: ContainerStop, Name: c.Name, ID: c.ID, Deadline: p.rec.Restart.At,
				Reason: "Stopping container " + c.Name + ", will be restarted with all others",
			})
		case !p.flying(Action{Kind: ContainerStart, Name: c.Name}.Key()):
			p.do(Action{Kind: ContainerRemove, Name: c.Name, ID: c.ID, KeepLog: c.State == pod.ContainerExited})
		}
	}
	if !left {
		p.rec.Restart = nil
		return true
	}
	for i := range p.views {
		switch v := &p.views[i]; {
		case v.role == pod.Ephemeral:
		case v.ran():
			p.wait(v.spec.Name, ReasonRestart, "container "+p.rec.Restart.By+" has ended with an exit code that restarts all containers of the pod")
		default:
			p.wait(v.spec.Name, p.pending(), "")
		}
	}
	return false
}

// again decides that a container that has run runs once more, without a wait: it did nothing wrong.
func (p *pass) again(v *view) {
	if v.begun {
		return
	}
	p.backoff(v.spec.Name, 0)
	p.attempts(v.spec.Name, v.next+1)
	v.begun = true
}
