package plan

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Orders that the plan itself gives.
const (
	ByDeadline = "deadline" // activeDeadlineSeconds has passed
	byFinish   = "finish"   // every main container has ended for good
	byPhase    = "phase"    // others gave the pod a phase that is final
)

// Next decides what to do now. It is deterministic, and it never changes what the input refers to.
func Next(in Input) Decision {
	p := newPass(&in)
	p.orders()
	if p.rec.Stop == nil && p.rec.Verdict == nil {
		if p.restartAll(); p.rec.Restart == nil {
			p.finish()
		}
	}
	if p.rec.Stop == nil && p.rec.Verdict == nil {
		p.run()
	} else {
		p.end()
	}
	p.refresh()
	p.prune()
	return p.d
}

// pass is the work on one decision.
type pass struct {
	in    *Input
	spec  *v1.Pod
	d     Decision
	rec   *pod.Record  // d.Record
	box   *pod.Sandbox // the newest sandbox, when it is ready
	views []view       // the containers of the specification, in its order

	ownAttempts, ownBackoff, ownHooks bool // the record's map is a copy already
}

func newPass(in *Input) *pass {
	p := &pass{in: in, spec: in.Desired.Pod, d: Decision{Record: in.Record}}
	p.rec = &p.d.Record
	p.rec.Pod, p.rec.Source = in.Desired.Pod, in.Desired.Source
	if s := in.Observed.Sandbox(); s != nil && s.Ready {
		p.box = s
	}
	n := len(p.spec.Spec.InitContainers) + len(p.spec.Spec.Containers) + len(p.spec.Spec.EphemeralContainers)
	p.views = make([]view, 0, n)
	for role, c := range pod.Spec(p.spec) {
		p.views = append(p.views, p.view(role, c))
	}
	return p
}

// orders merges the stop orders into the record, and gives one when the pod's own deadline has passed, or when others have
// written at the API server that it has ended: what they then do for want of it must not meet a pod that runs.
func (p *pass) orders() {
	old := p.rec.Stop
	p.rec.Stop = pod.Stricter(old, p.in.Desired.Stop)
	if p.rec.Stop == nil && p.rec.Verdict == nil {
		if p.rec.Stop = p.overdue(); p.rec.Stop == nil && p.in.Desired.Source == pod.SourceAPI && pod.IsOver(p.spec) {
			p.rec.Stop = &pod.Stop{Grace: pod.GracePeriod(p.spec), At: p.in.Now, By: byPhase}
		}
	}
	if s := p.rec.Stop; s != nil && (old == nil || *s != *old) && s.By != string(pod.SourceAPI) {
		p.d.Sync = true
	}
}

// overdue is the order that activeDeadlineSeconds gives, measured from status.startTime.
func (p *pass) overdue() *pod.Stop {
	limit, start := p.spec.Spec.ActiveDeadlineSeconds, p.rec.Status.StartTime
	if limit == nil {
		return nil
	}
	since := p.in.Now
	if start != nil {
		since = start.Time
	}
	end := since.Add(pod.Seconds(*limit))
	if p.in.Now.Before(end) {
		p.wake(end)
		return nil
	}
	return &pod.Stop{
		Reason: "DeadlineExceeded", Message: "Pod was active on the node longer than the specified deadline",
		Grace: pod.GracePeriod(p.spec), At: p.in.Now, By: ByDeadline,
	}
}

// do plans an action, unless the same one is in flight or has failed too recently. It reports whether the action is
// planned or in flight.
func (p *pass) do(a Action) bool {
	key := a.Key()
	if p.flying(key) {
		return true
	}
	if f, failed := p.in.Failures[key]; failed {
		if at := retryAt(a.Kind, f); p.in.Now.Before(at) {
			p.wake(at)
			return false
		}
	}
	p.d.Actions = append(p.d.Actions, a)
	return true
}

func (p *pass) flying(key string) bool {
	for i := range p.in.InFlight {
		if p.in.InFlight[i].Key() == key {
			return true
		}
	}
	return false
}

func (p *pass) flyingKind(k Kind) bool {
	return slices.ContainsFunc(p.in.InFlight, func(a Action) bool { return a.Kind == k })
}

// wake asks for a look at a time.
func (p *pass) wake(t time.Time) {
	if p.d.WakeAt.IsZero() || t.Before(p.d.WakeAt) {
		p.d.WakeAt = t
	}
}

// wait notes why a container, or with an empty name the pod, waits. The first reason stands.
func (p *pass) wait(name, reason, message string) {
	if p.d.Waiting == nil {
		p.d.Waiting = make(map[string]pod.Reason, len(p.views))
	}
	if _, ok := p.d.Waiting[name]; !ok {
		p.d.Waiting[name] = pod.Reason{Reason: reason, Message: message}
	}
}

// attempts records how many attempts at a container have begun. The number never goes back.
func (p *pass) attempts(name string, n uint32) {
	if p.rec.Attempts[name] >= n {
		return
	}
	if !p.ownAttempts {
		p.rec.Attempts, p.ownAttempts = cloned(p.rec.Attempts), true
	}
	p.rec.Attempts[name] = n
}

func (p *pass) backoff(name string, d time.Duration) {
	if !p.ownBackoff {
		p.rec.Backoff, p.ownBackoff = cloned(p.rec.Backoff), true
	}
	p.rec.Backoff[name] = d
}

func (p *pass) hooks(id string, h pod.Hooks) {
	if p.rec.Hooks[id] == h {
		return
	}
	if !p.ownHooks {
		p.rec.Hooks, p.ownHooks = cloned(p.rec.Hooks), true
	}
	p.rec.Hooks[id] = h
}

func cloned[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// refresh brings each volume up to date when it is due, until nothing of the pod runs any more and its volumes are torn down.
func (p *pass) refresh() {
	if (p.rec.Stop != nil || p.rec.Verdict != nil) && !p.in.Observed.Alive() {
		return
	}
	for i := range p.spec.Spec.Volumes {
		name := p.spec.Spec.Volumes[i].Name
		switch m := p.in.Observed.Mounts[name]; {
		case !m.Ready || m.Due.IsZero():
		case p.in.Now.Before(m.Due):
			p.wake(m.Due)
		default:
			p.do(Action{Kind: VolumeRefresh, Name: name, Attempt: m.Turn})
		}
	}
}

// prune forgets the hooks and the releases of what is gone. A pod that leaves the node takes its record with it.
func (p *pass) prune() {
	if p.rec.Stop != nil && p.rec.Stop.Remove {
		return
	}
	for id := range p.rec.Hooks {
		if p.in.Observed.ByID(id) == nil {
			if !p.ownHooks {
				p.rec.Hooks, p.ownHooks = cloned(p.rec.Hooks), true
			}
			delete(p.rec.Hooks, id)
		}
	}
	gone := func(id string) bool {
		return !slices.ContainsFunc(p.in.Observed.Sandboxes, func(s pod.Sandbox) bool { return s.ID == id })
	}
	if slices.ContainsFunc(p.rec.Released, gone) {
		p.rec.Released = slices.DeleteFunc(slices.Clone(p.rec.Released), gone)
	}
}

// Canceled returns the actions in flight that new facts make pointless: the pull of an image that the specification no
// longer names, a stop or a hook whose deadline is later than the one that now holds, and with any order to stop, what only a pod
// that runs has a use for. A ContainerStart is never cancelled: its outcome would be unknown, and what may be starting
// blocks the teardown.
func Canceled(inFlight []Action, in Input) []Action {
	stop := pod.Stricter(in.Record.Stop, in.Desired.Stop)
	ends := stop != nil || in.Record.Verdict != nil
	var canceled []Action
	for _, a := range inFlight {
		pointless := false
		switch a.Kind {
		case PreStop:
			pointless = stop != nil && a.Deadline.After(stop.Deadline())
		case ContainerStop:
			pointless = stop != nil && a.Deadline.After(lastKill(stop, in.Now)) || !ends && resetting(in, a)
		case ImagePull:
			c, _ := pod.SpecOf(in.Desired.Pod, a.Name)
			pointless = ends || c == nil || c.Image != a.Image
		case PodResize:
			pointless = ends
		case PostStart:
			pointless = ends || resetting(in, a)
		case SandboxCreate, VolumeMount, ImageLook:
			pointless = ends
		case VolumeRefresh:
			pointless = ends && !in.Observed.Alive()
		}
		if pointless {
			canceled = append(canceled, a)
		}
	}
	return canceled
}

// resetting reports whether an action deals gently with a container that a restart of all is about to kill.
func resetting(in Input, a Action) bool {
	r := in.Record.Restart
	if r == nil || a.Kind == ContainerStop && !a.Deadline.After(r.At) {
		return false
	}
	_, role := pod.SpecOf(in.Desired.Pod, a.Name)
	return role != pod.Ephemeral
}
