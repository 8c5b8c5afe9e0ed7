package plan

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// LastMoment is the least that a container has to obey SIGTERM when hooks or others have used the grace period up. One that is
// to die at once has none.
const LastMoment = 2 * time.Second

// lastKill is when the last SIGKILL that an order asks for is due at the latest: a last moment may have begun just now.
func lastKill(stop *pod.Stop, now time.Time) time.Time {
	begin := stop.Deadline()
	if begin.Before(now) {
		begin = now
	}
	return begin.Add(LastMoment)
}

// finish ends a pod whose main containers have all ended for good. What still runs, sidecars first of all, is stopped by
// an order of the plan's own, so that its deadline outlives the agent.
func (p *pass) finish() {
	if !p.finished() {
		return
	}
	if p.in.Observed.Alive() || p.flyingKind(ContainerStart) {
		p.rec.Stop = &pod.Stop{Grace: pod.GracePeriod(p.spec), At: p.in.Now, By: byFinish}
		return
	}
	p.conclude()
}

// finished reports whether nothing of the pod is left to be run.
func (p *pass) finished() bool {
	mains, ended, ran, again := 0, 0, false, false
	for i := range p.views {
		v := &p.views[i]
		switch v.role {
		case pod.Init:
			if v.state == pod.Ended && v.exit != 0 && !p.wants(v) {
				return true
			}
		case pod.Main:
			mains++
			wants := v.state == pod.Ended && p.wants(v)
			again = again || wants
			if v.state == pod.Ended && !wants {
				ended++
			}
		}
		ran = ran || v.role != pod.Ephemeral && v.ran()
	}
	if mains == 0 {
		return false
	}
	// With its sandbox a pod loses its init containers' work and what ran. One that never restarts ends with that.
	stranded := p.box == nil && p.spec.Spec.RestartPolicy == v1.RestartPolicyNever && ran && !again
	return ended == mains || stranded
}

// conclude writes the verdict. A reason makes it a failure; else the pod has succeeded when each main container has.
func (p *pass) conclude() {
	v := &pod.Verdict{Phase: v1.PodSucceeded, At: p.in.Now}
	for i := range p.views {
		if m := &p.views[i]; m.role == pod.Main && (m.state != pod.Ended || m.exit != 0) {
			v.Phase = v1.PodFailed
		}
	}
	if s := p.rec.Stop; s != nil && s.By == byPhase {
		v.Phase, v.Reason, v.Message = p.spec.Status.Phase, p.spec.Status.Reason, p.spec.Status.Message
	}
	if s := p.rec.Stop; s != nil && s.Reason != "" {
		v.Phase, v.Reason, v.Message = v1.PodFailed, s.Reason, s.Message
	}
	p.rec.Verdict, p.d.Verdict, p.d.Sync = v, v, true
}

// end takes the pod down: what runs is stopped, the verdict is written, everything is released, and with an order to
// remove it nothing stays.
func (p *pass) end() {
	p.rec.Restart = nil
	if p.stopAll(); p.in.Observed.Alive() || p.flyingKind(ContainerStart) {
		return
	}
	if p.rec.Verdict == nil && len(p.spec.Spec.Containers) > 0 {
		p.conclude()
	}
	p.release()
}

// stopAll stops what runs. Sidecars go after all others, in reverse order; at the deadline everything is killed.
func (p *pass) stopAll() {
	deadline := p.in.Now
	switch {
	case p.rec.Stop != nil:
		deadline = p.rec.Stop.Deadline()
	case p.rec.Verdict.At.Before(deadline):
		deadline = p.rec.Verdict.At
	}
	due := !p.in.Now.Before(deadline)
	others, last := p.flyingKind(ContainerStart), -1
	containers := p.in.Observed.Containers
	for i := range containers {
		if !containers[i].MayRun() {
			continue
		}
		if n := p.sidecar(containers[i].Name); n < 0 {
			others = true
		} else {
			last = max(last, n)
		}
	}
	if !due && (others || last >= 0) {
		p.wake(deadline)
	}
	for i := range containers {
		c := &containers[i]
		if !c.MayRun() {
			continue
		}
		n := p.sidecar(c.Name)
		var spec *v1.Container
		if v := p.named(c.Name); v != nil {
			spec = v.spec
		}
		switch {
		case n >= 0:
			p.stopSidecar(c, spec, deadline, due || !others && n == last)
		default:
			p.stop(c, spec, deadline, "")
		}
	}
}

// stopSidecar runs the preStop hook of a sidecar when the pod's end begins, as that of any container (KEP-753), and stops
// it at its turn. One whose turn never came because the grace period is over still has a moment to obey SIGTERM, unless
// there was no grace period.
func (p *pass) stopSidecar(c *pod.Container, spec *v1.Container, deadline time.Time, turn bool) {
	a := Action{Kind: ContainerStop, Name: c.Name, ID: c.ID, Deadline: deadline}
	due := !p.in.Now.Before(deadline)
	if preStop(spec) != nil && !due && p.hookRuns(c, deadline) || !turn {
		return
	}
	if due && p.rec.Stop != nil && p.rec.Stop.Grace > 0 && p.in.Failures[a.Key()].Count == 0 {
		a.Deadline = p.in.Now.Add(LastMoment)
	}
	p.do(a)
}

// sidecar is the index of the sidecar of a name, or -1.
func (p *pass) sidecar(name string) int {
	return slices.IndexFunc(p.views, func(v view) bool { return v.role == pod.Sidecar && v.spec.Name == name })
}

// hookRuns runs a sidecar's preStop hook once, and reports whether it is not over yet. One that began and has no outcome
// runs again: the agent died meanwhile.
func (p *pass) hookRuns(c *pod.Container, deadline time.Time) bool {
	h := p.rec.Hooks[c.ID]
	stop := Action{Kind: ContainerStop, Name: c.Name, ID: c.ID}.Key()
	_, failed := p.in.Failures[stop]
	if h.PreStop == pod.HookDone || h.PreStop == pod.HookFailed || failed || p.flying(stop) {
		return false
	}
	h.PreStop = pod.HookBegun
	p.hooks(c.ID, h)
	return p.do(Action{Kind: PreStop, Name: c.Name, ID: c.ID, Deadline: deadline})
}

// stop plans the end of one container. The preStop hook is noted before it runs; a stop that failed once is repeated
// without it.
func (p *pass) stop(c *pod.Container, spec *v1.Container, deadline time.Time, reason string) {
	a := Action{Kind: ContainerStop, Name: c.Name, ID: c.ID, Deadline: deadline, Reason: reason}
	if preStop(spec) != nil && deadline.After(p.in.Now) && p.in.Failures[a.Key()].Count == 0 && !p.flying(a.Key()) {
		a.PreStop = true
		h := p.rec.Hooks[c.ID]
		h.PreStop = pod.HookBegun
		p.hooks(c.ID, h)
	}
	p.do(a)
}

func preStop(c *v1.Container) *v1.LifecycleHandler {
	if c == nil || c.Lifecycle == nil {
		return nil
	}
	return c.Lifecycle.PreStop
}

// release gives back what the pod holds. Nothing runs any more and nothing is being started.
func (p *pass) release() {
	remove := p.rec.Stop != nil && p.rec.Stop.Remove
	containers := p.removeContainers(remove)
	down, boxes := p.releaseSandboxes(remove)
	mounts := p.unmount(containers)
	o := &p.in.Observed
	cgroup := o.Cgroup || o.CgroupLeft || p.flying(string(CgroupCreate))
	if down && !mounts && cgroup && !p.flying(string(CgroupCreate)) {
		p.do(Action{Kind: CgroupRemove})
	}
	if !remove || containers || boxes || mounts || cgroup {
		return
	}
	if o.Dir {
		if len(p.in.InFlight) == 0 {
			p.do(Action{Kind: DirRemove})
		}
		return
	}
	p.d.Done = len(p.in.InFlight) == 0
}

// removeContainers removes what never ran, and all others when the pod is to leave no trace. It reports whether any that
// should go is still there.
func (p *pass) removeContainers(all bool) (left bool) {
	for i := range p.in.Observed.Containers {
		c := &p.in.Observed.Containers[i]
		if all || c.State == pod.ContainerCreated {
			left = true
			p.do(Action{Kind: ContainerRemove, Name: c.Name, ID: c.ID})
		}
	}
	return left
}

// releaseSandboxes stops the sandboxes, which releases their network, and removes them when the pod is to leave no trace.
func (p *pass) releaseSandboxes(remove bool) (down, left bool) {
	down = !p.flying(string(SandboxCreate))
	left = !down
	for i := range p.in.Observed.Sandboxes {
		s := &p.in.Observed.Sandboxes[i]
		left = true
		switch {
		case !p.down(s):
			down = false
			p.do(Action{Kind: SandboxStop, ID: s.ID})
		case remove && !inhabited(p.in.Observed.Containers, s.ID, nil):
			p.do(Action{Kind: SandboxRemove, ID: s.ID})
		}
	}
	return down, left
}

// unmount takes the volumes down and reports whether any is left. A container that was made and never started might
// still be started by a runtime that is slow: its removal comes first.
func (p *pass) unmount(blocked bool) (left bool) {
	left = p.flyingKind(VolumeMount)
	if len(p.in.Observed.Mounts) == 0 {
		return left
	}
	if blocked && slices.ContainsFunc(p.in.Observed.Containers, func(c pod.Container) bool { return c.State == pod.ContainerCreated }) {
		return true
	}
	for _, name := range p.mounted() {
		if !p.flying(Action{Kind: VolumeMount, Name: name}.Key()) {
			p.do(Action{Kind: VolumeUnmount, Name: name})
		}
	}
	return true
}

// mounted lists the volumes that are there, by name.
func (p *pass) mounted() []string {
	names := make([]string, 0, len(p.in.Observed.Mounts))
	for name := range p.in.Observed.Mounts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
