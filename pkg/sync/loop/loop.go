package loop

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/life"
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
	// Renew makes the pod's volumes due: what they are made from may have changed.
	Renew(uid types.UID)
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
	Wakes     *Wakes
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

type loop struct {
	cfg     *Config
	uid     types.UID
	wake    chan struct{}
	stale   atomic.Bool  // the runtime must be read again
	told    atomic.Int64 // unix nanoseconds of the newest change that the runtime told
	retry   atomic.Bool  // what an action lacked may have come: no backoff holds
	desired atomic.Pointer[pod.Desired]
	shown   atomic.Pointer[v1.Pod] // the pod with its latest status, for readers
	results chan life.Result
	running sync.WaitGroup

	// Owned by the loop's goroutine.
	life    *life.Life
	cancels map[string]context.CancelFunc // of what is in flight, by key
	unclear string                        // what was told last of a runtime that is unclear about the pod
}

func newLoop(cfg *Config, d pod.Desired, r pod.Record) *loop {
	l := &loop{
		cfg: cfg, uid: d.Pod.UID, wake: make(chan struct{}, 1), results: make(chan life.Result),
		life: life.New(r), cancels: map[string]context.CancelFunc{},
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

// again wakes the loop, which waits out no backoff.
func (l *loop) again() {
	l.retry.Store(true)
	l.poke(false)
}

// changed wakes the loop for a change that the runtime told.
func (l *loop) changed(at time.Time) {
	if !at.IsZero() {
		for old := l.told.Load(); at.UnixNano() > old && !l.told.CompareAndSwap(old, at.UnixNano()); old = l.told.Load() {
		}
	}
	l.poke(at.IsZero())
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
	for len(l.cancels) > 0 {
		l.ended((<-l.results).Action)
	}
	l.release()
}

// pass is one turn of the loop.
func (l *loop) pass(ctx context.Context) (wakeAt time.Time, done bool) {
	look, err := l.look(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.blind(err)
		}
		return time.Now().Add(retryLook), false
	}
	l.unclear = ""
	t := l.life.Turn(look)
	for _, f := range t.Failed {
		l.tell(f)
	}
	if t.Done {
		return l.finish(t)
	}
	if t.Save {
		l.save(&t)
	}
	for _, e := range t.Events {
		l.cfg.Event(look.Desired.Pod, e.Container, e.Type, e.Reason, e.Message)
	}
	for _, a := range t.Cancel {
		l.cancels[a.Key()]()
	}
	l.launch(ctx, t)
	l.report(t)
	return t.WakeAt, false
}

// blind notes that a look has failed. Once for each text it tells of a pod that the runtime is unclear about, which waits.
func (l *loop) blind(err error) {
	slog.Debug("cannot look at a pod", "uid", l.uid, "err", err)
	if e, ok := errors.AsType[*pod.Error](err); !ok || e.Class != pod.Unclear {
		l.unclear = ""
	} else if text := err.Error(); text != l.unclear {
		l.unclear = text
		l.cfg.Event(l.desired.Load().Pod, "", v1.EventTypeWarning, "FailedSync", text)
	}
}

// look collects what one turn rests on.
func (l *loop) look(ctx context.Context) (life.Look, error) {
	poked := l.stale.Swap(false)
	if begin := time.Now(); poked || l.life.Outdated(time.Unix(0, l.told.Load()), begin) {
		sandboxes, containers, err := l.cfg.Observer.Runtime(ctx, l.uid)
		if err != nil {
			l.stale.Store(true)
			return life.Look{}, err
		}
		l.life.Looked(sandboxes, containers, begin)
	}
	if l.retry.Swap(false) {
		l.life.Forgive()
		l.cfg.Observer.Renew(l.uid)
	}
	local, err := l.cfg.Observer.Local(l.uid)
	if err != nil {
		return life.Look{}, err
	}
	return life.Look{
		Desired: *l.desired.Load(), Local: local, Health: l.cfg.Prober.Verdicts(l.uid), Host: l.cfg.Host(), Now: time.Now(),
		CrashLimit: l.cfg.CrashLimit, CFS: l.cfg.CFS,
	}, nil
}

// save writes the record. When that fails, the reason goes into the log and into an event, once.
func (l *loop) save(t *life.Turn) {
	err := l.cfg.Records.Save(l.uid, t.Record, t.Sync)
	if !l.life.Saved(t, err) {
		return
	}
	p := t.Input.Desired.Pod
	slog.Error("cannot persist a pod's record: nothing new is started for it until that succeeds; free some disk space",
		"pod", pod.FullName(p), "uid", l.uid, "err", err)
	l.cfg.Event(p, "", v1.EventTypeWarning, "FailedRecord",
		err.Error()+": nothing new is started for the pod until that succeeds: free some disk space")
}

// finish forgets the pod: the status goes out first, the record last.
func (l *loop) finish(t life.Turn) (time.Time, bool) {
	p := t.Input.Desired.Pod
	l.cfg.Prober.Stop(l.uid)
	l.show(p, t.Record.Status)
	l.cfg.Reporter.Report(p, t.Record.Status)
	if err := l.cfg.Records.Delete(l.uid); err != nil {
		slog.Error("cannot forget a pod that is gone", "uid", l.uid, "err", err)
		return t.Input.Now.Add(time.Second), false
	}
	l.release()
	l.cfg.Reporter.Finished(p)
	return time.Time{}, true
}

// report hands out a turn's outcome: the status, and what is to be probed.
func (l *loop) report(t life.Turn) {
	p, s := t.Input.Desired.Pod, t.Record.Status
	if shown := l.shown.Load(); shown.ResourceVersion != p.ResourceVersion || shown.Generation != p.Generation ||
		!apiequality.Semantic.DeepEqual(shown.Status, s) {
		l.show(p, s)
	}
	l.cfg.Reporter.Report(p, s)
	l.cfg.Prober.Sync(t.Input)
}

func (l *loop) show(p *v1.Pod, s v1.PodStatus) {
	shown := *p
	shown.Status = s
	l.shown.Store(&shown)
}
