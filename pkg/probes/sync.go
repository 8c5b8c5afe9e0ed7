package probes

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// Sync brings a pod's probes in line with what a pass of its loop saw. It is cheap when nothing has changed and never
// waits for a probe.
func (s *Set) Sync(in plan.Input) {
	p := in.Desired.Pod
	if !probed(p) {
		return
	}
	var running []target
	for role, c := range pod.Spec(p) {
		o := in.Observed.Container(c.Name)
		if role != pod.Main && role != pod.Sidecar || o == nil || o.State != pod.ContainerRunning {
			continue
		}
		if c.Lifecycle != nil && c.Lifecycle.PostStart != nil && in.Record.Hooks[o.ID].PostStart != pod.HookDone {
			continue // not started before its hook is done
		}
		running = append(running, target{name: c.Name, id: o.ID, startedAt: o.StartedAt, prior: reported(&in.Record.Status, c, o.ID)})
	}
	terminating := in.Desired.Stop != nil || in.Record.Stop != nil || in.Record.Verdict != nil
	s.follow(p, s.podIP(in), running, terminating)
}

func probed(p *v1.Pod) bool {
	has := func(c v1.Container) bool {
		return c.LivenessProbe != nil || c.ReadinessProbe != nil || c.StartupProbe != nil
	}
	return slices.ContainsFunc(p.Spec.Containers, has) || slices.ContainsFunc(p.Spec.InitContainers, has)
}

// podIP is the address that probes without a host of their own go to.
func (s *Set) podIP(in plan.Input) string {
	if in.Desired.Pod.Spec.HostNetwork {
		return s.cfg.HostIP()
	}
	if box := in.Observed.Sandbox(); box != nil && len(box.IPs) > 0 {
		return box.IPs[0]
	}
	return in.Record.Status.PodIP
}

// reported reads the successes that were last reported of this very container: after a restart of the agent they hold
// until its probes have a verdict again.
func reported(last *v1.PodStatus, c *v1.Container, id string) (prior pod.Probes) {
	s := pod.StatusOf(last, c.Name)
	if s == nil || pod.BareID(s.ContainerID) != id {
		return prior
	}
	if c.StartupProbe != nil && s.Started != nil && *s.Started {
		prior.Startup = pod.Success
	}
	if c.ReadinessProbe != nil && s.Ready {
		prior.Readiness = pod.Success
	}
	return prior
}
