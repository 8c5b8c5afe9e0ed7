package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// started reports whether a sidecar lets the containers after it start: it runs in the current sandbox, its postStart hook
// is done, and its startup probe, if it has one, has succeeded (KEP-753). What a former life of the agent reported of the
// same container holds until its probe has a verdict again.
func (p *pass) started(v *view) bool {
	if v.state != running || !v.here || v.c.State != pod.ContainerRunning {
		return false
	}
	if postStart(v.spec) != nil && p.rec.Hooks[v.c.ID].PostStart != pod.HookDone {
		return false
	}
	if v.spec.StartupProbe == nil {
		return true
	}
	switch p.in.Health[v.c.ID].Startup {
	case pod.Success:
		return true
	case pod.Failed:
		return false
	}
	return p.reportedStarted(v)
}

// reportedStarted reports whether the very container that runs was last reported as started.
func (p *pass) reportedStarted(v *view) bool {
	last := statusOf(&p.in.Record.Status, v.spec.Name)
	return last != nil && sameID(last, v.c.ID) && last.Started != nil && *last.Started
}

// closing reports whether the pod is about to end: main containers are being stopped, and no main container will run again.
// A preStop hook can make that long. Sidecars are left as they are meanwhile, as a kubelet leaves them.
func (p *pass) closing() bool {
	stopping := false
	for i := range p.views {
		v := &p.views[i]
		switch {
		case v.role != pod.Main, v.state == exited && !p.wants(v):
		case v.state == running && p.stoppedForGood(v):
			stopping = true
		default:
			return false
		}
	}
	return stopping
}

// stoppedForGood reports whether a running container is being stopped and will not run again, whatever its exit.
func (p *pass) stoppedForGood(v *view) bool {
	return !v.begun && p.policy(v) == v1.ContainerRestartPolicyNever && len(v.spec.RestartPolicyRules) == 0 &&
		p.flying(Action{Kind: ContainerStop, ID: v.c.ID}.Key())
}
