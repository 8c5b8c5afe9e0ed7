package plan

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// wants reports whether a container that ended should run again.
func (p *pass) wants(v *view) bool {
	return (v.begun || p.restarts(v)) && (v.role != pod.Sidecar || !p.closing())
}

func (p *pass) restarts(v *view) bool { return Restarts(p.spec, v.role, v.spec, v.exit) }

// Restarts is the restart policy's answer to an exit: the container's rules first, then its own policy, then the pod's
// (KEP-5307).
func Restarts(p *v1.Pod, role pod.Role, c *v1.Container, exit int32) bool {
	if ruled(c, exit) != "" {
		return true
	}
	switch role {
	case pod.Sidecar:
		return true
	case pod.Ephemeral:
		return false
	case pod.Init:
		return exit != 0 && policy(p, c) != v1.ContainerRestartPolicyNever
	}
	switch policy(p, c) {
	case v1.ContainerRestartPolicyNever:
		return false
	case v1.ContainerRestartPolicyOnFailure:
		return exit != 0
	}
	return true
}

func (p *pass) policy(v *view) v1.ContainerRestartPolicy { return policy(p.spec, v.spec) }

// policy is the restart policy that holds for a container.
func policy(p *v1.Pod, c *v1.Container) v1.ContainerRestartPolicy {
	if c.RestartPolicy != nil {
		return *c.RestartPolicy
	}
	return v1.ContainerRestartPolicy(p.Spec.RestartPolicy)
}

// ruled is the action of the first rule that an exit matches, or "".
func ruled(c *v1.Container, exit int32) v1.ContainerRestartRuleAction {
	for _, r := range c.RestartPolicyRules {
		if matches(r, exit) {
			return r.Action
		}
	}
	return ""
}

func matches(r v1.ContainerRestartRule, exit int32) bool {
	if r.ExitCodes == nil {
		return false
	}
	in := slices.Contains(r.ExitCodes.Values, exit)
	switch r.ExitCodes.Operator {
	case v1.ContainerRestartRuleOnExitCodesOpIn:
		return in
	case v1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !in
	}
	return false
}

// begin decides upon the next attempt, once: the wait before it and its number go into the record together, so that a
// second look, or a second life of the agent, neither waits twice nor counts twice.
func (p *pass) begin(v *view) {
	if v.begun {
		return
	}
	name := v.spec.Name
	last, restarted := p.rec.Backoff[name]
	end := v.finished
	if v.state == pod.Running {
		end = p.in.Now
	}
	long := !v.started.IsZero() && end.Sub(v.started) >= crashReset
	p.backoff(name, crashWait(last, restarted && !long && !stale(v), p.in.CrashLimit))
	p.attempts(name, v.next+1)
	v.begun = true
}

// stale reports whether the newest container was made from another specification, or can no longer be started. One whose
// maker left no hash is not made from another.
func stale(v *view) bool {
	return v.c != nil && v.c.CutOff || v.c != nil && v.c.Hash != "" && !pod.MadeFrom(v.c.Hash, v.spec)
}

// check stops a running container that cannot stay: it is unknown to its runtime, its specification has changed, its
// hook or a probe has failed. Where it is to run again whatever its exit, that is decided here and now. The reasons are in a
// kubelet's words: of a sidecar, and of a change of resources, it does not say that the container will be restarted.
func (p *pass) check(v *view) {
	name, health, grace := v.spec.Name, p.in.Health[v.c.ID], pod.GracePeriod(p.spec)
	never := v.role != pod.Sidecar && p.policy(v) == v1.ContainerRestartPolicyNever
	reason, again := "", !never
	what, note := "Container", ", will be restarted"
	if v.role == pod.Init || v.role == pod.Sidecar {
		what, note = "Init container", ""
	}
	_, resize := p.resized(v)
	switch {
	case v.c.State == pod.ContainerUnknown:
		reason, again = what+` is in "unknown" state, try killing it before restart`, false
	case v.role == pod.Init || v.role == pod.Ephemeral || v.role == pod.Sidecar && p.closing():
		return
	case stale(v):
		reason, again = what+" "+name+" definition changed", true
	case resize:
		reason, again, note = "Container "+name+" resize requires restart", true, ""
	case p.rec.Hooks[v.c.ID].PostStart == pod.HookFailed:
		reason, again = "FailedPostStartHook", false
	case health.Startup == pod.Failed:
		reason, grace = what+" "+name+" failed startup probe", graceOf(v.spec.StartupProbe, grace)
	case health.Liveness == pod.Failed:
		reason, grace = what+" "+name+" failed liveness probe", graceOf(v.spec.LivenessProbe, grace)
	default:
		return
	}
	if again {
		reason += note
		p.begin(v)
	}
	p.stop(v.c, v.spec, p.in.Now.Add(grace), reason)
}

// graceOf is a probe's own grace period, which liveness and startup probes may have.
func graceOf(probe *v1.Probe, pods time.Duration) time.Duration {
	if probe == nil || probe.TerminationGracePeriodSeconds == nil {
		return pods
	}
	return pod.Seconds(*probe.TerminationGracePeriodSeconds)
}

// tidy takes down what earlier sandboxes and attempts left: nothing runs in a sandbox that is not the current one, and
// of each container the newest that has ended is kept, for its logs and as evidence that it ran.
func (p *pass) tidy() {
	containers := p.in.Observed.Containers
	for i := range containers {
		c := &containers[i]
		v := p.named(c.Name)
		astray := v == nil || p.box == nil || c.SandboxID != p.box.ID
		switch {
		case c.MayRun():
			if astray {
				p.evict(c, v)
			}
		case c.State == pod.ContainerCreated:
			unwanted := astray || superseded(containers[:i], c, true) || v.c == c && stale(v)
			if unwanted && !p.flying(Action{Kind: ContainerStart, Name: c.Name}.Key()) {
				p.do(Action{Kind: ContainerRemove, Name: c.Name, ID: c.ID})
			}
		case superseded(containers[:i], c, false):
			p.do(Action{Kind: ContainerRemove, Name: c.Name, ID: c.ID})
		}
	}
	p.tidySandboxes()
}

// tidySandboxes takes down every sandbox but the current one, once nothing runs in it.
func (p *pass) tidySandboxes() {
	boxes, containers := p.in.Observed.Sandboxes, p.in.Observed.Containers
	for i := range boxes {
		s := &boxes[i]
		if i == 0 && p.box != nil {
			continue
		}
		switch {
		case inhabited(containers, s.ID, (*pod.Container).MayRun), p.flyingKind(ContainerStart):
			// What runs there, or may have been started there, comes first.
		case !p.down(s):
			p.do(Action{Kind: SandboxStop, ID: s.ID})
			p.stuck(Action{Kind: SandboxStop, ID: s.ID}, "FailedKillPod")
		case len(boxes) > 1 && i > 0 && !inhabited(containers, s.ID, nil):
			p.do(Action{Kind: SandboxRemove, ID: s.ID})
		}
	}
}

// evict stops a container that lost its sandbox or its place in the specification. It is not its own doing: unless it
// never restarts, it runs again in the next sandbox whatever its exit.
func (p *pass) evict(c *pod.Container, v *view) {
	var spec *v1.Container
	if v != nil {
		spec = v.spec
		if v.c == c && v.role != pod.Ephemeral && (v.role == pod.Sidecar || p.policy(v) != v1.ContainerRestartPolicyNever) {
			p.begin(v)
		}
	}
	p.stop(c, spec, p.in.Now.Add(pod.GracePeriod(p.spec)), "")
}

// superseded reports whether a newer container of the same name is there: any, or one that has ended.
func superseded(newer []pod.Container, c *pod.Container, any bool) bool {
	return slices.ContainsFunc(newer, func(n pod.Container) bool {
		return n.Name == c.Name && (any || n.State == pod.ContainerExited)
	})
}

// inhabited reports whether a sandbox holds a container, of a kind when one is given.
func inhabited(containers []pod.Container, sandbox string, kind func(*pod.Container) bool) bool {
	for i := range containers {
		if containers[i].SandboxID == sandbox && (kind == nil || kind(&containers[i])) {
			return true
		}
	}
	return false
}

// down reports whether a sandbox is stopped and its network released.
func (p *pass) down(s *pod.Sandbox) bool {
	return !s.Ready && slices.Contains(p.rec.Released, s.ID)
}

// named finds a container of the specification, or nil.
func (p *pass) named(name string) *view {
	for i := range p.views {
		if p.views[i].spec.Name == name {
			return &p.views[i]
		}
	}
	return nil
}
