package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// started reports whether a sidecar lets the containers after it start: it runs in the current sandbox and counts as started.
func (p *pass) started(v *view) bool {
	if v.state != pod.Running || !v.here || v.c.State != pod.ContainerRunning {
		return false
	}
	return v.h.Started(v.spec, p.rec.Hooks[v.c.ID], p.in.Health[v.c.ID])
}

// closing reports whether the pod is about to end: main containers are being stopped, and no main container will run again.
// A preStop hook can make that long. Sidecars are left as they are meanwhile, as a kubelet leaves them.
func (p *pass) closing() bool {
	stopping := false
	for i := range p.views {
		v := &p.views[i]
		switch {
		case v.role != pod.Main, v.state == pod.Ended && !p.wants(v):
		case v.state == pod.Running && p.stoppedForGood(v):
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
