package loop

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// retryLook is how long a loop waits after a look that failed; a poke ends the wait.
const retryLook = 2 * time.Second

// Observer looks at the node.
type Observer interface {
	// Runtime returns what the runtime has of a pod, newest first.
	Runtime(ctx context.Context, uid types.UID) ([]pod.Sandbox, []pod.Container, error)
	// Local returns what this node's file systems have of a pod; only Mounts, Cgroup, CgroupLeft and Dir are set.
	Local(uid types.UID) (pod.Observed, error)
	// Refresh has the next look read the pod's containers anew, which were changed in place.
	Refresh(uid types.UID)
}

// Actor does one action. An image is returned by ImagePull alone.
type Actor interface {
	Do(ctx context.Context, in plan.Input, a plan.Action) (*pod.Image, error)
}

// Records is the durable memory.
type Records interface {
	Save(uid types.UID, r pod.Record, sync bool) error
	Delete(uid types.UID) error
}

// Prober runs the probes of what runs.
type Prober interface {
	Sync(in plan.Input)
	Verdicts(uid types.UID) pod.Health
	Stop(uid types.UID)
}

// Reporter takes each status of a pod and the end of it.
type Reporter interface {
	Report(p *v1.Pod, s v1.PodStatus)
	Finished(p *v1.Pod)
}

// Config is what every loop of a node shares.
type Config struct {
	Observer  Observer
	Actor     Actor
	Records   Records
	Prober    Prober
	Reporter  Reporter
	Event     func(p *v1.Pod, container, typ, reason, message string)
	Rejected  func(reason string) // counts a pod that is not admitted; may be nil
	Restarted func(static bool)   // counts a pod that ended and is wanted again under its UID; may be nil
	Host      func() status.HostInfo
	Starts    *Limit // pods being brought up at once
	Stops     *Limit // pods being torn down at once
	// CrashLimit is the longest CrashLoopBackOff; 0: 300 s.
	CrashLimit time.Duration
	CFS        resources.CFS                    // how CPU limits are enforced
	Boundary   func(a plan.Action, edge string) // told of each action's edges, "before" and "after"; nil for none
}

type result struct {
	action plan.Action
	image  *pod.Image
	err    error
}

type flight struct {
	action plan.Action
	cancel context.CancelFunc
}

// ending is an action that reported success, and how often it had failed in a row before.
type ending struct {
	action plan.Action
	before int
}

type loop struct {
	cfg     *Config
	uid     types.UID
	wake    chan struct{}
	stale   atomic.Bool  // the runtime must be read again
	told    atomic.Int64 // unix nanoseconds of the newest change that the runtime told
	retry   atomic.Bool  // what an action lacked may have come: no backoff holds
	desired atomic.Pointer[pod.Desired]
	shown   atomic.Pointer[v1.Pod] // the pod with its latest status, for readers
	results chan result
	running sync.WaitGroup

	// Owned by the loop's goroutine.
	mem memory
}

// memory is what a loop knows of its pod beyond what it can see.
type memory struct {
	record   pod.Record
	saved    pod.Record // as last persisted
	looked   int64      // when the last look at the runtime began, in unix nanoseconds
	unsaved  bool       // the last save failed
	observed pod.Observed
	images   map[string]pod.Image
	failures pod.Failures
	flights  map[string]flight
	ended    map[string]ending // reported success since the last pass
	waiting  map[string]pod.Reason
}

func newLoop(cfg *Config, d pod.Desired, r pod.Record) *loop {
	l := &loop{
		cfg: cfg, uid: d.Pod.UID, wake: make(chan struct{}, 1), results: make(chan result),
		mem: memory{
			record: r, images: map[string]pod.Image{}, failures: pod.Failures{},
			flights: map[string]flight{}, ended: map[string]ending{},
		},
	}
	l.desired.Store(&d)
	l.show(d.Pod, r.Status)
	l.poke(true)
	return l
}

// poke wakes the loop; with runtime, it reads the runtime again.
func (l *loop) poke(runtime bool) {
	if runtime {
		l.stale.Store(true)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// changed wakes the loop for a change that the runtime told.
func (l *loop) changed(at time.Time) {
	if !at.IsZero() {
		for old := l.told.Load(); at.UnixNano() > old && !l.told.CompareAndSwap(old, at.UnixNano()); old = l.told.Load() {
		}
	}
	l.poke(at.IsZero())
}

// outdated reports whether the runtime must be read again. What it told of a time before the last look is known. And
// while an action changes a pod of which nothing runs, its outcome is looked at, not its steps.
func (l *loop) outdated() bool {
	if l.stale.Swap(false) {
		return true
	}
	// A look that lies ahead is of a clock that was set back since.
	if l.told.Load() <= l.mem.looked && l.mem.looked <= time.Now().UnixNano() {
		return false
	}
	for _, c := range l.mem.observed.Containers {
		if c.State == pod.ContainerRunning || c.State == pod.ContainerUnknown {
			return true
		}
	}
	for _, f := range l.mem.flights {
		switch f.action.Kind {
		case plan.SandboxCreate, plan.SandboxStop, plan.SandboxRemove, plan.ContainerStart, plan.ContainerRemove:
			return false
		}
	}
	return true
}

// run owns the pod until nothing of it is left (true) or the context ends (false).
func (l *loop) run(ctx context.Context) (done bool) {
	defer l.running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.drain()
			return false
		case <-l.wake:
		case r := <-l.results:
			l.settle(r)
		case <-timer.C:
		}
		l.gather()
		wakeAt, done := l.pass(ctx)
		if done {
			return true
		}
		timer.Reset(until(wakeAt))
	}
}

func until(t time.Time) time.Duration {
	if t.IsZero() {
		return time.Hour
	}
	return max(time.Until(t), time.Millisecond)
}

// gather settles every result that is ready, so that one pass serves them all.
func (l *loop) gather() {
	for {
		select {
		case r := <-l.results:
			l.settle(r)
		case <-l.wake:
		default:
			return
		}
	}
}

// drain waits for what is in flight; the context that it ran under has ended.
func (l *loop) drain() {
	for len(l.mem.flights) > 0 {
		r := <-l.results
		l.mem.flights[r.action.Key()].cancel()
		delete(l.mem.flights, r.action.Key())
	}
	l.release()
}

// pass is one turn of the loop.
func (l *loop) pass(ctx context.Context) (wakeAt time.Time, done bool) {
	in, err := l.look(ctx)
	if err != nil {
		if ctx.Err() == nil {
			slog.Debug("cannot look at a pod", "uid", l.uid, "err", err)
		}
		return time.Now().Add(retryLook), false
	}
	d := l.decide(&in)
	if d.Done && len(l.mem.flights) == 0 {
		return l.finish(in, d)
	}
	before := in.Record.Stop
	in.Record = d.Record
	d.Record.Status = status.Build(in, d, l.cfg.Host())
	l.persist(in, &d)
	if s := d.Record.Stop; before == nil && s != nil && s.By == plan.ByDeadline {
		l.cfg.Event(in.Desired.Pod, "", v1.EventTypeNormal, s.Reason, s.Message)
	}
	l.cancel(in)
	l.launch(ctx, in, d.Actions)
	l.report(in, d)
	return d.WakeAt, false
}

// look collects the input of one pass.
func (l *loop) look(ctx context.Context) (plan.Input, error) {
	m := &l.mem
	if l.outdated() {
		begin := time.Now().UnixNano()
		sandboxes, containers, err := l.cfg.Observer.Runtime(ctx, l.uid)
		if err != nil {
			l.stale.Store(true)
			return plan.Input{}, err
		}
		m.observed.Sandboxes, m.observed.Containers, m.looked = sandboxes, containers, begin
	}
	if l.retry.Swap(false) {
		m.failures = forgiven(m.failures)
	}
	local, err := l.cfg.Observer.Local(l.uid)
	if err != nil {
		return plan.Input{}, err
	}
	m.observed.Mounts, m.observed.Cgroup, m.observed.CgroupLeft, m.observed.Dir = local.Mounts, local.Cgroup, local.CgroupLeft, local.Dir
	m.observed.Images = m.images
	in := plan.Input{
		Desired: *l.desired.Load(), Observed: m.observed, Record: m.record, Failures: m.failures,
		Health: l.cfg.Prober.Verdicts(l.uid), Now: time.Now(), CrashLimit: l.cfg.CrashLimit, CFS: l.cfg.CFS,
	}
	in.Record.Pod, in.Record.Source = in.Desired.Pod, in.Desired.Source
	for _, f := range m.flights {
		in.InFlight = append(in.InFlight, f.action)
	}
	return in, nil
}

// decide asks the plan. An action that reported success and is asked for again, unchanged, had no visible effect: that
// is filed as a failure, so that its backoff applies instead of a hot loop.
func (l *loop) decide(in *plan.Input) plan.Decision {
	d := plan.Next(*in)
	again := false
	for _, a := range d.Actions {
		if e, ok := l.mem.ended[a.Key()]; ok && sameAction(e.action, a) {
			l.fail(a, e.before, &pod.Error{Class: pod.NoVisibleEffect, Err: errors.New(string(a.Kind) + " reported success and had no visible effect")})
			again = true
		}
	}
	clear(l.mem.ended)
	if again {
		in.Failures = l.mem.failures
		d = plan.Next(*in)
	}
	return d
}

// sameAction reports whether two actions ask for the same. A stop that is due after a while from now asks for the same
// each time that it is planned.
func sameAction(a, b plan.Action) bool {
	a.Deadline, b.Deadline = time.Time{}, time.Time{}
	return a == b
}

// persist writes the record when it changed. When that fails, only what needs no memory may go on: the rest waits for
// the next pass, with the reason in the log and in an event.
func (l *loop) persist(in plan.Input, d *plan.Decision) {
	m := &l.mem
	m.record = d.Record
	if !m.unsaved && sameRecord(m.record, m.saved) {
		return
	}
	err := l.cfg.Records.Save(l.uid, m.record, d.Sync)
	if err == nil {
		m.saved, m.unsaved = m.record, false
		return
	}
	if !m.unsaved {
		slog.Error("cannot persist a pod's record: nothing new is started for it until that succeeds; free some disk space",
			"pod", pod.FullName(in.Desired.Pod), "uid", l.uid, "err", err)
		l.cfg.Event(in.Desired.Pod, "", v1.EventTypeWarning, "FailedRecord",
			err.Error()+": nothing new is started for the pod until that succeeds: free some disk space")
	}
	m.unsaved = true
	d.Actions = withoutMemory(d.Actions, m.record.Stop)
	if retry := in.Now.Add(time.Second); d.WakeAt.IsZero() || retry.Before(d.WakeAt) {
		d.WakeAt = retry
	}
}

// withoutMemory keeps the actions that destroy no evidence: a container may always be stopped, and a pod that is to
// leave the node may be torn down, which is also what gives the disk its space back.
func withoutMemory(actions []plan.Action, stop *pod.Stop) []plan.Action {
	var kept []plan.Action
	for _, a := range actions {
		switch a.Kind {
		case plan.ContainerStop, plan.PreStop:
			kept = append(kept, a)
		case plan.CgroupCreate, plan.VolumeMount, plan.VolumeRefresh, plan.ImagePull, plan.ImageLook, plan.SandboxCreate,
			plan.ContainerStart, plan.PostStart, plan.PodResize:
		default:
			if stop != nil && stop.Remove {
				kept = append(kept, a)
			}
		}
	}
	return kept
}

// finish forgets the pod: the status goes out first, the record last.
func (l *loop) finish(in plan.Input, d plan.Decision) (time.Time, bool) {
	in.Record = d.Record
	l.cfg.Prober.Stop(l.uid)
	s := status.Build(in, d, l.cfg.Host())
	l.show(in.Desired.Pod, s)
	l.cfg.Reporter.Report(in.Desired.Pod, s)
	if err := l.cfg.Records.Delete(l.uid); err != nil {
		slog.Error("cannot forget a pod that is gone", "uid", l.uid, "err", err)
		return in.Now.Add(time.Second), false
	}
	l.release()
	l.cfg.Reporter.Finished(in.Desired.Pod)
	return time.Time{}, true
}

// report hands out the pass's outcome: status, probes, and what newly waits.
func (l *loop) report(in plan.Input, d plan.Decision) {
	p, s := in.Desired.Pod, d.Record.Status
	in.Record = d.Record
	if shown := l.shown.Load(); shown.ResourceVersion != p.ResourceVersion || shown.Generation != p.Generation ||
		!apiequality.Semantic.DeepEqual(shown.Status, s) {
		l.show(p, s)
	}
	l.cfg.Reporter.Report(p, s)
	l.cfg.Prober.Sync(in)
	for name, w := range d.Waiting {
		if old := l.mem.waiting[name]; old.Reason == w.Reason {
			continue
		}
		switch w.Reason {
		case "CrashLoopBackOff":
			l.cfg.Event(p, name, v1.EventTypeWarning, "BackOff",
				"Back-off restarting failed container "+name+" in pod "+p.Name+"_"+p.Namespace+"("+string(p.UID)+")")
		case "ImagePullBackOff":
			backOff, _, _ := strings.Cut(w.Message, ": ") // without the failure, which was told
			l.cfg.Event(p, name, v1.EventTypeNormal, "BackOff", backOff)
			l.cfg.Event(p, name, v1.EventTypeWarning, "Failed", "Error: "+w.Reason)
		}
	}
	l.mem.waiting = d.Waiting
}

func (l *loop) show(p *v1.Pod, s v1.PodStatus) {
	shown := *p
	shown.Status = s
	l.shown.Store(&shown)
}
