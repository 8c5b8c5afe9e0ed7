package life

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// Life is what is known of one pod from look to look. It is not safe for concurrent use: the pod's loop owns it.
type Life struct {
	record   pod.Record
	saved    pod.Record // as it is on disk
	unsaved  bool       // the last save failed
	observed pod.Observed
	looked   time.Time // when the last look at the runtime began
	stale    bool      // an action that has ended may have changed what the runtime has
	failures pod.Failures
	flights  map[string]plan.Action
	ended    map[string]ending // reported success since the last turn
	waiting  map[string]pod.Reason
}

// ending is an action that reported success, and how often it had failed in a row before.
type ending struct {
	action plan.Action
	before int
}

// New begins with what the record holds.
func New(r pod.Record) *Life {
	return &Life{
		record: r, observed: pod.Observed{Images: map[string]pod.Image{}}, stale: true, failures: pod.Failures{},
		flights: map[string]plan.Action{}, ended: map[string]ending{},
	}
}

// Outdated reports whether the runtime must be read again: when an action may have changed what it has, and when it told of
// a change since the last look. While an action changes a pod of which nothing runs, its outcome is looked at, not its steps.
func (l *Life) Outdated(told, now time.Time) bool {
	if l.stale {
		return true
	}
	// A look that lies ahead is of a clock that was set back since.
	if !told.After(l.looked) && !l.looked.After(now) {
		return false
	}
	for _, c := range l.observed.Containers {
		if c.State == pod.ContainerRunning || c.State == pod.ContainerUnknown {
			return true
		}
	}
	for _, a := range l.flights {
		switch a.Kind {
		case plan.SandboxCreate, plan.SandboxStop, plan.SandboxRemove, plan.ContainerStart, plan.ContainerRemove:
			return false
		}
	}
	return true
}

// Looked takes what the runtime has of the pod, newest first, and when the look at it began.
func (l *Life) Looked(sandboxes []pod.Sandbox, containers []pod.Container, begin time.Time) {
	l.observed.Sandboxes, l.observed.Containers = sandboxes, containers
	l.looked, l.stale = begin.Round(0), false // by the wall clock, which may be set back
}

// Forgive ends the backoff of what rests on objects that a pod names, and on images that were imported: what an action lacked
// may have come. What went wrong is still told until it succeeds.
func (l *Life) Forgive() {
	l.failures = maps.Clone(l.failures)
	for key, f := range l.failures {
		kind, _, _ := strings.Cut(key, "/")
		if slices.Contains([]plan.Kind{plan.VolumeMount, plan.VolumeRefresh, plan.ContainerStart, plan.ImagePull}, plan.Kind(kind)) {
			f.Count, f.Last = 0, time.Time{}
			l.failures[key] = f
		}
	}
}

// Look is what a turn rests on beside what Life remembers.
type Look struct {
	Desired    pod.Desired
	Local      pod.Observed // what this node's file systems have: Mounts, Cgroup, CgroupLeft and Dir
	Health     pod.Health
	Host       status.HostInfo
	Now        time.Time
	CrashLimit time.Duration
	CFS        resources.CFS
}

// Turn is what follows from a look.
type Turn struct {
	plan.Decision            // with the record's status
	Input         plan.Input // what it was decided from; the record is the decision's
	Save          bool       // the record differs from the one on disk
	Cancel        []plan.Action
	Failed        []Failed // actions that reported success and had no visible effect
	Events        []Event
}

// Event is one to be told of the pod.
type Event struct{ Container, Type, Reason, Message string }

// Failed is an action that failed, and what is filed of it.
type Failed struct {
	Action  plan.Action
	Failure pod.Failure
}

// Turn decides. The decision is done only when nothing is in flight any more.
func (l *Life) Turn(look Look) Turn {
	in := l.input(look)
	var t Turn
	t.Decision, t.Failed = l.decide(&in)
	t.Done = t.Done && len(l.flights) == 0
	if stop := t.Record.Stop; in.Record.Stop == nil && stop != nil && stop.By == plan.ByDeadline {
		t.Events = append(t.Events, Event{"", v1.EventTypeNormal, stop.Reason, stop.Message})
	}
	in.Record = t.Record
	t.Record.Status = status.Build(in, t.Decision, look.Host)
	t.Cancel = plan.Canceled(in.InFlight, in)
	t.Input, t.Input.Record = in, t.Record
	t.Events = append(t.Events, l.wait(in.Desired.Pod, t.Waiting)...)
	l.record = t.Record
	t.Save = l.unsaved || !sameRecord(l.record, l.saved)
	return t
}

func (l *Life) input(look Look) plan.Input {
	o := look.Local
	o.Sandboxes, o.Containers, o.Images = l.observed.Sandboxes, l.observed.Containers, l.observed.Images
	in := plan.Input{
		Desired: look.Desired, Observed: o, Record: l.record, Failures: l.failures, Health: look.Health, Now: look.Now,
		CrashLimit: look.CrashLimit, CFS: look.CFS,
	}
	in.Record.Pod, in.Record.Source = look.Desired.Pod, look.Desired.Source
	for _, a := range l.flights {
		in.InFlight = append(in.InFlight, a)
	}
	return in
}

// decide asks the plan. An action that reported success and is asked for again, unchanged, had no visible effect: that
// is filed as a failure, so that its backoff applies instead of a hot loop.
func (l *Life) decide(in *plan.Input) (plan.Decision, []Failed) {
	d := plan.Next(*in)
	var failed []Failed
	for _, a := range d.Actions {
		if e, ok := l.ended[a.Key()]; ok && sameAction(e.action, a) {
			err := errors.New(string(a.Kind) + " reported success and had no visible effect")
			failed = append(failed, l.fail(a, e.before, &pod.Error{Class: pod.NoVisibleEffect, Err: err}, in.Now))
		}
	}
	clear(l.ended)
	if failed != nil {
		in.Failures = l.failures
		d = plan.Next(*in)
	}
	return d, failed
}

// sameAction reports whether two actions ask for the same. A stop that is due after a while from now asks for the same
// each time that it is planned.
func sameAction(a, b plan.Action) bool {
	a.Deadline, b.Deadline = time.Time{}, time.Time{}
	return a == b
}

// wait notes what waits, and tells what newly does.
func (l *Life) wait(p *v1.Pod, waiting map[string]pod.Reason) []Event {
	var events []Event
	for _, name := range slices.Sorted(maps.Keys(waiting)) {
		w := waiting[name]
		if l.waiting[name].Reason == w.Reason {
			continue
		}
		switch w.Reason {
		case "CrashLoopBackOff":
			events = append(events, Event{
				name, v1.EventTypeWarning, "BackOff",
				"Back-off restarting failed container " + name + " in pod " + p.Name + "_" + p.Namespace + "(" + string(p.UID) + ")",
			})
		case "ImagePullBackOff":
			backOff, _, _ := strings.Cut(w.Message, ": ") // without the failure, which was told
			events = append(events, Event{name, v1.EventTypeNormal, "BackOff", backOff},
				Event{name, v1.EventTypeWarning, "Failed", "Error: " + w.Reason})
		}
	}
	l.waiting = waiting
	return events
}

// Saved takes the outcome of saving a turn's record. When that failed, only what needs no memory may go on: the rest waits
// for the next try, in a second. It reports whether the failure is the first one in a row.
func (l *Life) Saved(t *Turn, err error) (first bool) {
	if err == nil {
		l.saved, l.unsaved = l.record, false
		return false
	}
	first, l.unsaved = !l.unsaved, true
	t.Actions = withoutMemory(t.Actions, l.record.Stop)
	if retry := t.Input.Now.Add(time.Second); t.WakeAt.IsZero() || retry.Before(t.WakeAt) {
		t.WakeAt = retry
	}
	return first
}

// Weighs tells whether the pod is being brought up or torn down, by what is due and what is in flight: both weigh on the
// node, which bounds how many pods do so at once.
func (l *Life) Weighs(t Turn) (starting, stopping bool) {
	for _, actions := range [][]plan.Action{t.Actions, slices.Collect(maps.Values(l.flights))} {
		starting = starting || slices.ContainsFunc(actions, isStart)
		stopping = stopping || slices.ContainsFunc(actions, isStop)
	}
	return starting, stopping
}

func isStart(a plan.Action) bool {
	return a.Kind == plan.CgroupCreate || a.Kind == plan.SandboxCreate || a.Kind == plan.ContainerStart
}

func isStop(a plan.Action) bool { return a.Kind == plan.SandboxStop || a.Kind == plan.SandboxRemove }

// Due are the actions of a turn that begin now, by whether the node may bring the pod up and tear it down.
func (t *Turn) Due(start, stop bool) []plan.Action {
	return slices.DeleteFunc(slices.Clone(t.Actions), func(a plan.Action) bool { return isStart(a) && !start || isStop(a) && !stop })
}

// Begin notes that an action is in flight, until End.
func (l *Life) Begin(a plan.Action) { l.flights[a.Key()] = a }

// Result is how an action ended. An image comes of ImagePull alone. One that was cancelled has neither failed nor succeeded.
type Result struct {
	Action   plan.Action
	Image    *pod.Image
	Err      error
	Canceled bool
}

// End files the outcome of one action: failures by key, and what of a success cannot be seen on the node. It returns what
// is filed of a failure, or nil.
func (l *Life) End(r Result, now time.Time) *Failed {
	key := r.Action.Key()
	delete(l.flights, key)
	switch r.Action.Kind {
	case plan.CgroupCreate, plan.CgroupRemove, plan.VolumeMount, plan.VolumeRefresh, plan.VolumeUnmount, plan.ImagePull,
		plan.ImageLook, plan.DirRemove:
	default:
		l.stale = true
	}
	l.record = remember(l.record, r)
	before := l.failures[key].Count
	switch {
	case r.Err == nil:
		l.ended[key] = ending{action: r.Action, before: before}
		l.failures = without(l.failures, r.Action.Ends())
		if r.Image != nil {
			l.observed.Images = maps.Clone(l.observed.Images)
			l.observed.Images[r.Action.Name] = *r.Image
		}
	case !r.Canceled:
		return new(l.fail(r.Action, before, r.Err, now))
	}
	return nil
}

// fail files a failure. The map is replaced, not changed: actions in flight hold inputs that share it.
func (l *Life) fail(a plan.Action, before int, err error, now time.Time) Failed {
	class := ""
	if e, ok := errors.AsType[*pod.Error](err); ok {
		class = e.Class
	}
	f := pod.Failure{Count: before + 1, Last: now, Class: class, Text: err.Error()}
	l.failures = maps.Clone(l.failures)
	l.failures[a.Key()] = f
	return Failed{Action: a, Failure: f}
}

// without drops failures.
func without(failures pod.Failures, keys []string) pod.Failures {
	for _, key := range keys {
		if _, failed := failures[key]; failed {
			failures = maps.Clone(failures)
			delete(failures, key)
		}
	}
	return failures
}
