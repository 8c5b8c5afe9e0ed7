package life_test

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/life"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

var (
	seeds   = flag.Int("seeds", 20_000, "how many random pods TestLife_Converges runs")
	oneSeed = flag.Int("seed", -1, "run this one alone and print what happens")
)

// maxPasses bounds a pod's life: one that needs more is in a livelock.
const maxPasses = 3000

// TestLife_Converges runs random pods on a model runtime, with actions that fail, processes and sandboxes that die, stop
// orders of every kind, and the agent killed between any two actions: what was in flight has then taken effect, or half of
// it, or none. Whatever happens, the invariants that the world checks hold, and in the end nothing of the pod is left.
func TestLife_Converges(t *testing.T) {
	first, last := 0, *seeds
	if *oneSeed >= 0 {
		first, last = *oneSeed, *oneSeed+1
	}
	for seed := first; seed < last; seed++ {
		if w := live(uint64(seed), *oneSeed >= 0); len(w.broken) > 0 {
			if *oneSeed < 0 {
				w = live(uint64(seed), true)
			}
			t.Fatalf("seed %d: %s\n%s", seed, strings.Join(w.broken, "; "), strings.Join(w.log, "\n"))
		} else if *oneSeed >= 0 {
			t.Log("\n" + strings.Join(w.log, "\n"))
		}
	}
}

// agent is what dies with the agent: a loop without its goroutine and its I/O.
type agent struct {
	w       *world
	born    time.Time
	life    *life.Life
	desired pod.Desired
	flights []flight
	wakeAt  time.Time
	probes  pod.Health // of a scripted world
	done    bool
}

type flight struct {
	plan.Action
	at       time.Time // when it ends
	orders   orders    // that it was planned under
	canceled bool
}

// orders are what may cut a stop short.
type orders struct {
	kill    time.Time
	restart bool
}

func ordersOf(in plan.Input) (o orders) {
	if s := pod.Stricter(in.Record.Stop, in.Desired.Stop); s != nil {
		o.kill = s.Deadline()
	}
	o.restart = in.Record.Restart != nil
	return o
}

// script is what happens to a pod from outside.
type script struct {
	at time.Time
	do func(w *world, a *agent) *agent
}

func live(seed uint64, tracing bool) *world {
	w := newWorld(seed)
	w.tracing = tracing
	w.trace("policy %s, grace %d", w.pod.Spec.RestartPolicy, *w.pod.Spec.TerminationGracePeriodSeconds)
	a := newAgent(w, pod.Desired{Pod: w.pod, Source: pod.SourceAPI})
	scripts := randomScripts(w)
	for range maxPasses {
		a.pass()
		if a.done || len(w.broken) > 0 {
			w.checkEmpty(a)
			return w
		}
		if w.chance(1) && w.failures > 0 {
			w.failures--
			a = a.crash()
			continue
		}
		next := a.nextTime(scripts)
		if next.IsZero() {
			w.fault("the pod is stuck: nothing in flight, no time to wake at, nothing to come")
			return w
		}
		w.now = next
		w.advance()
		a.complete()
		for len(scripts) > 0 && !scripts[0].at.After(w.now) {
			do := scripts[0].do
			scripts = scripts[1:]
			a = do(w, a)
		}
	}
	w.fault("no end after %d passes", maxPasses)
	return w
}

// randomScripts always ends with a removal; before it may come other orders, crashes and the loss of the sandbox.
func randomScripts(w *world) []script {
	var s []script
	at := func(limit int) time.Time { return w.now.Add(w.seconds(limit)) }
	for range w.rng.IntN(3) {
		s = append(s, script{at(120), func(w *world, a *agent) *agent { w.loseBox(); return a }})
	}
	for range w.rng.IntN(4) {
		s = append(s, script{at(150), func(w *world, a *agent) *agent { return a.crash() }})
	}
	if w.chance(15) {
		s = append(s, script{at(150), func(w *world, a *agent) *agent { w.change(w.changeable(), "fixed"); a.desired.Pod = w.pod; return a }})
	}
	if w.chance(10) {
		s = append(s, script{at(150), func(w *world, a *agent) *agent { w.debug(); a.desired.Pod = w.pod; return a }})
	}
	for range w.rng.IntN(3) {
		s = append(s, script{at(150), func(w *world, a *agent) *agent { w.resize(w.changeable()); a.desired.Pod = w.pod; return a }})
	}
	order := func(stop pod.Stop) func(w *world, a *agent) *agent {
		return func(w *world, a *agent) *agent {
			stop.At = w.now
			w.trace("order %s remove=%v grace=%s", stop.By, stop.Remove, stop.Grace)
			a.desired.Stop = pod.Stricter(a.desired.Stop, &stop)
			return a
		}
	}
	if w.chance(30) {
		s = append(s, script{at(150), order(pod.Stop{Reason: "Evicted", By: "eviction", Grace: w.seconds(20)})})
	}
	end := at(200)
	if w.chance(10) {
		end = end.Add(15 * time.Minute)
	}
	s = append(s, script{end, order(pod.Stop{By: "api", Grace: w.seconds(40), Remove: true})})
	if w.chance(30) {
		s = append(s, script{end.Add(w.seconds(10)), order(pod.Stop{By: "api", Grace: w.seconds(2), Remove: true})})
	}
	slices.SortStableFunc(s, func(a, b script) int { return a.at.Compare(b.at) })
	return s
}

func newAgent(w *world, d pod.Desired) *agent {
	return &agent{w: w, born: w.now, life: life.New(w.disk), desired: d}
}

// crash kills the agent: each action in flight has had its effect, or half of it, or none. What the API server ordered
// is seen again; an eviction only if it reached the disk.
func (a *agent) crash() *agent {
	w := a.w
	if w.full { // what an agent could not write down it cannot be asked for
		return a
	}
	w.trace("CRASH")
	for _, f := range a.flights {
		w.apply(f.Action, w.rng.IntN(3))
	}
	d := pod.Desired{Pod: w.pod, Source: pod.SourceAPI, Stop: w.disk.Stop}
	if s := a.desired.Stop; s != nil && s.Remove {
		d.Stop = pod.Stricter(d.Stop, &pod.Stop{By: "api", Grace: s.Grace, At: s.At, Remove: true})
	}
	return newAgent(w, d)
}

// health is what the probes say; a new agent needs a second to find out.
func (a *agent) health() pod.Health {
	if a.probes != nil {
		return a.probes
	}
	h := pod.Health{}
	if a.w.now.Before(a.born.Add(time.Second)) {
		return h
	}
	for _, c := range a.w.cons {
		if c.State != pod.ContainerRunning {
			continue
		}
		var p pod.Probes
		if !a.w.now.Before(c.startupAt) {
			p.Startup = pod.Success
		}
		if !c.sickAt.IsZero() && !a.w.now.Before(c.sickAt) {
			p.Liveness = pod.Failed
		}
		h[c.ID] = p
	}
	return h
}

// pass is one turn of a loop.
func (a *agent) pass() life.Turn {
	w := a.w
	o := w.observe()
	if w.script || a.life.Outdated(w.told, w.now) {
		a.life.Looked(o.Sandboxes, o.Containers, w.now)
	}
	o.Sandboxes, o.Containers = nil, nil
	t := a.life.Turn(life.Look{
		Desired: a.desired, Local: o, Health: a.health(), Host: status.HostInfo{Name: "n", IPs: []string{"192.0.2.1"}}, Now: w.now,
	})
	for _, f := range t.Failed {
		w.trace("no effect %s", f.Action.Key())
	}
	w.judge(t.Input, t.Decision)
	a.save(&t)
	w.restarted(t.Record.Restart)
	w.report(t.Decision)
	if a.done = t.Done; a.done {
		return t
	}
	a.cancel(t)
	a.wakeAt = t.WakeAt
	start, stop := !w.happens(1), !w.happens(1)
	if !start || !stop { // the node is busy: such actions are not launched until there is a place
		a.wakeAt = w.now.Add(time.Second)
	}
	for _, x := range t.Due(start, stop) {
		w.trace("do %s %s attempt=%d", x.Key(), x.ID, x.Attempt)
		a.life.Begin(x)
		a.flights = append(a.flights, flight{Action: x, at: a.ends(x), orders: ordersOf(t.Input)})
	}
	return t
}

// save writes the record, unless the disk is full just then.
func (a *agent) save(t *life.Turn) {
	a.w.known = t.Record
	if t.Done {
		a.w.disk = t.Record // for the check of what is left; a loop deletes it
	}
	if !t.Save || t.Done {
		return
	}
	if a.w.failures > 0 && a.w.happens(1) {
		a.w.failures--
		a.w.trace("disk full")
		a.w.full = true
		a.life.Saved(t, errors.New("no space left on device"))
		return
	}
	a.life.Saved(t, nil)
	a.w.disk, a.w.full = t.Record, false
}

// cancel ends, soon, what a turn finds pointless.
func (a *agent) cancel(t life.Turn) {
	for _, x := range t.Cancel {
		for i := range a.flights {
			if f := &a.flights[i]; f.Key() == x.Key() && !f.canceled {
				a.w.trace("cancel %s", x.Key())
				if x.Kind == plan.ContainerStop && f.orders == ordersOf(t.Input) {
					a.w.fault("%s is cancelled, and nothing has changed", x.Key())
				}
				f.canceled, f.at = true, a.w.now.Add(a.w.seconds(3))
			}
		}
	}
}

// ends is when an action will have ended.
func (a *agent) ends(x plan.Action) time.Time {
	if x.Kind != plan.ContainerStop {
		return a.w.now.Add(a.w.seconds(2))
	}
	end := a.w.now.Add(a.w.seconds(5))
	if c := a.w.con(x.ID); c != nil && c.stubborn || x.Deadline.Before(end) {
		end = x.Deadline
	}
	if !end.After(a.w.now) {
		end = a.w.now.Add(time.Millisecond)
	}
	return end
}

// nextTime is when something happens next; zero when nothing will.
func (a *agent) nextTime(scripts []script) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(a.w.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(a.wakeAt)
	for _, f := range a.flights {
		sooner(f.at)
	}
	for _, c := range a.w.cons {
		if c.State == pod.ContainerRunning {
			sooner(c.exitAt)
			sooner(c.sickAt)
			sooner(c.startupAt)
			sooner(a.born.Add(time.Second))
		}
	}
	if len(scripts) > 0 {
		sooner(scripts[0].at)
	}
	return next
}

// advance lets what is due happen in the world.
func (w *world) advance() {
	for _, c := range w.cons {
		if c.State == pod.ContainerRunning && !c.exitAt.IsZero() && !c.exitAt.After(w.now) {
			w.kill(c, c.code, true)
		}
	}
}

// complete ends the actions that are due, well or badly.
func (a *agent) complete() {
	w := a.w
	due := slices.Clone(a.flights)
	a.flights = slices.DeleteFunc(a.flights, func(f flight) bool { return !f.at.After(w.now) })
	for _, f := range due {
		if f.at.After(w.now) {
			continue
		}
		r := life.Result{Action: f.Action, Canceled: f.canceled}
		switch {
		case f.canceled:
			w.apply(f.Action, w.rng.IntN(3))
			r.Err = errors.New("cancelled")
		case w.failures > 0 && w.chance(10):
			w.failures--
			r.Err = &pod.Error{Class: w.apply(f.Action, w.rng.IntN(2)), Err: errors.New("injected")}
			w.trace("fail %s", f.Key())
		default:
			w.apply(f.Action, 2)
			w.trace("done %s", f.Key())
		}
		a.end(r)
	}
}

// end tells the loop how an action has ended; a pull that succeeds has its image.
func (a *agent) end(r life.Result) {
	if x := r.Action; x.Kind == plan.ImagePull && r.Err == nil {
		r.Image = &pod.Image{Ref: x.Image, ID: "sha256:" + x.Image, Attempt: x.Attempt}
	}
	a.life.End(r, a.w.now)
}

// cut is how a start ends that the runtime gives up because the agent died.
const cut = 3

// apply gives an action its effect: none of it (0), what a failure half-way leaves (1), all of it (2). It returns the
// class that such a failure has.
func (w *world) apply(x plan.Action, how int) (class string) {
	switch {
	case x.Kind == plan.ImagePull:
		return pod.ErrImagePull
	case how == 0:
		return ""
	case x.Kind == plan.ContainerStart:
		return w.applyStart(x, how)
	case how == 2:
		w.applyAll(x)
		return ""
	}
	switch x.Kind {
	case plan.CgroupCreate:
		w.dir = true
	case plan.VolumeMount, plan.VolumeUnmount:
		if _, ok := w.mounts[x.Name]; ok || x.Kind == plan.VolumeMount {
			w.mounts[x.Name] = pod.Mount{}
		}
	case plan.PodResize:
		w.resizePod(1)
	case plan.SandboxCreate:
		w.createBox(x, false)
	case plan.SandboxStop:
		if b := w.box(x.ID); b != nil && !w.alive(x.ID) {
			b.Ready = false
		}
	}
	return ""
}

func (w *world) applyStart(x plan.Action, how int) (class string) {
	c := w.con(x.ID)
	if x.ID == "" {
		if len(w.boxes) == 0 || !w.boxes[0].Ready {
			return pod.CreateContainerError // it was lost meanwhile
		}
		c = w.createContainer(x)
	}
	if c == nil || c.State != pod.ContainerCreated {
		return pod.RunContainerError
	}
	if c.CutOff {
		w.fault("%s is to be started, and its start was cut off before", c.Name)
		return pod.RunContainerError
	}
	if b := w.box(c.SandboxID); b == nil || !b.Ready {
		return pod.RunContainerError
	}
	if how == 2 {
		w.startContainer(c)
	} else if c.CutOff = how == cut || !w.script && w.chance(30); c.CutOff {
		w.trace("cut off %s", c.Name)
	} else if !w.script && w.chance(50) {
		w.checkWait(c.Name) // it could not be executed
		w.ended(c.Name, false)
		c.State, c.ExitCode, c.Reason, c.FinishedAt = pod.ContainerExited, 128, "StartError", w.now
	}
	return pod.RunContainerError
}

func (w *world) applyAll(x plan.Action) {
	switch x.Kind {
	case plan.CgroupCreate:
		w.dir, w.cgroup = true, true
	case plan.VolumeMount:
		w.mount(x.Name)
	case plan.VolumeRefresh:
		w.refresh(x.Name)
	case plan.PodResize:
		w.resizePod(len(w.cons))
	case plan.SandboxCreate:
		w.createBox(x, true)
	case plan.PostStart:
		if h := w.disk.Hooks[x.ID]; h.PostStart == "" && w.con(x.ID) != nil {
			w.fault("a postStart hook ran that was not noted")
		}
		if c := w.con(x.ID); c != nil {
			w.hooked[c.SandboxID+"/"+c.Name] = true
		}
	case plan.PreStop:
		if h := w.disk.Hooks[x.ID]; h.PreStop == "" && w.con(x.ID) != nil && !w.full {
			w.fault("a preStop hook ran that was not noted")
		}
	case plan.ContainerStop:
		if c := w.con(x.ID); c != nil {
			code := []int32{0, 137, 143}[w.rng.IntN(3)]
			if w.script {
				code = 137
			}
			w.kill(c, code, false)
		}
	case plan.ContainerRemove:
		w.removeContainer(x.ID)
	case plan.SandboxStop:
		w.stopBox(x.ID)
	case plan.SandboxRemove:
		w.removeBox(x.ID)
	case plan.VolumeUnmount:
		w.unmount(x.Name)
	case plan.CgroupRemove:
		w.removeCgroup()
	case plan.DirRemove:
		w.removeDir()
	}
}

// judge holds a decision to the rules that bind every decision.
func (w *world) judge(in plan.Input, d plan.Decision) {
	keys := map[string]bool{}
	for _, x := range in.InFlight {
		keys[x.Key()] = true
	}
	for _, x := range d.Actions {
		if keys[x.Key()] {
			w.fault("%s is planned twice", x.Key())
		}
		keys[x.Key()] = true
	}
	for _, x := range d.Actions {
		if x.Kind == plan.ContainerStart && x.ID != "" && keys[plan.Action{Kind: plan.ContainerRemove, ID: x.ID}.Key()] {
			w.fault("%s is started and removed at once", x.Name)
		}
	}
	for _, x := range d.Actions {
		if _, role := pod.SpecOf(w.pod, x.Name); x.Kind == plan.ContainerStart && d.Record.Restart != nil && role != pod.Ephemeral {
			w.fault("%s is started before those of before the restart of all are gone", x.Name)
		}
	}
	if !d.WakeAt.IsZero() && !d.WakeAt.After(in.Now) {
		w.fault("the plan wakes at a time that has passed")
	}
	if d.Verdict != nil && in.Observed.Alive() {
		w.fault("a verdict while something runs")
	}
	if v := d.Record.Verdict; w.verdict != nil && (v == nil || *v != *w.verdict) {
		w.fault("the verdict changes from %v to %v", w.verdict, v)
	} else if v != nil && w.verdict == nil {
		w.trace("verdict %s %s", v.Phase, v.Reason)
		w.verdict = v
		if d.Verdict != nil && !d.Sync {
			w.fault("a verdict is not synced")
		}
	}
	if len(d.Actions)+len(in.InFlight) == 0 && d.WakeAt.IsZero() && !d.Done {
		w.checkSteady(in, d)
	}
}

// checkSteady looks at a pod for which nothing is to be done: it runs, or it has ended and waits for its removal.
func (w *world) checkSteady(in plan.Input, d plan.Decision) {
	if s := d.Record.Stop; s != nil && s.Remove {
		w.fault("a pod to be removed is left alone")
	}
	if d.Record.Verdict != nil {
		if w.cgroup || len(w.mounts) > 0 || slices.ContainsFunc(w.boxes, func(b *box) bool { return b.network }) {
			w.fault("a pod that has ended holds resources")
		}
		return
	}
	for i := range w.pod.Spec.Containers {
		name := w.pod.Spec.Containers[i].Name
		c := in.Observed.Container(name)
		switch {
		case c == nil:
			if !w.starting() {
				w.fault("%s does not run and nothing is done about it", name)
			}
		case c.State == pod.ContainerExited:
			if w.runsAgain(name, c.ExitCode) && !w.starting() {
				w.fault("%s has ended with %d and is not restarted", name, c.ExitCode)
			}
		case c.State != pod.ContainerRunning:
			w.fault("%s is %s and nothing is done about it", name, c.State)
		case !w.boxes[0].Ready || c.SandboxID != w.boxes[0].ID:
			w.fault("%s runs in a sandbox that is gone", name)
		case *c.Resources != *given(&w.pod.Spec.Containers[i]):
			w.fault("%s does not have its resources and nothing is done about it", name)
		}
	}
}

// starting reports whether the pod waits for an init container to end, or for a sidecar or a hook to be done.
func (w *world) starting() bool {
	return slices.ContainsFunc(w.cons, func(c *con) bool {
		_, role := pod.SpecOf(w.pod, c.Name)
		return c.State == pod.ContainerRunning && (role == pod.Init || role == pod.Sidecar)
	})
}

// report holds the statuses to what their readers rely on.
func (w *world) report(d plan.Decision) {
	s := &d.Record.Status
	terminal := s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed
	if w.phase != "" && s.Phase != w.phase {
		w.fault("the phase leaves %s for %s", w.phase, s.Phase)
	}
	if terminal && w.phase == "" {
		w.phase = s.Phase
		if w.alive("") {
			w.fault("the phase is terminal while something runs")
		}
	}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			c := &list[i]
			if c.RestartCount < w.counts[c.Name] {
				w.fault("the restart count of %s falls from %d to %d", c.Name, w.counts[c.Name], c.RestartCount)
			}
			if n := w.runs[c.Name]; c.RestartCount > 0 && uint32(c.RestartCount) >= n {
				w.fault("the restart count of %s is %d after %d runs", c.Name, c.RestartCount, n)
			}
			w.counts[c.Name] = c.RestartCount
		}
	}
}

// checkEmpty looks at what is left of a pod that is done.
func (w *world) checkEmpty(a *agent) {
	if !a.done {
		return
	}
	w.trace("done")
	if len(w.cons)+len(w.boxes)+len(w.mounts) > 0 || w.cgroup || w.dir {
		w.fault("done with %d containers, %d sandboxes, %d mounts, cgroup %v, directory %v", len(w.cons), len(w.boxes), len(w.mounts), w.cgroup, w.dir)
	}
	if w.verdict == nil {
		w.fault("done without a verdict")
	}
	if s := w.disk.Stop; s == nil || !s.Remove {
		w.fault("done without an order to remove")
	}
}
