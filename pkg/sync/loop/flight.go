package loop

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// launch starts the actions beside the loop. Those that weigh on the machine wait for a turn; a granted turn pokes.
func (l *loop) launch(ctx context.Context, in plan.Input, actions []plan.Action) {
	starting, stopping := l.weighing(actions)
	maystart := l.turn(l.cfg.Starts, starting, in)
	maystop := l.turn(l.cfg.Stops, stopping, in)
	for _, a := range actions {
		switch {
		case l.mem.flights[a.Key()].cancel != nil,
			isStart(a.Kind) && !maystart,
			isStop(a.Kind) && !maystop:
			continue
		}
		l.start(ctx, in, a)
	}
}

// weighing tells whether the pod is being brought up or torn down, by what is due and what is in flight.
func (l *loop) weighing(actions []plan.Action) (starting, stopping bool) {
	for _, a := range actions {
		starting, stopping = starting || isStart(a.Kind), stopping || isStop(a.Kind)
	}
	for _, f := range l.mem.flights {
		starting, stopping = starting || isStart(f.action.Kind), stopping || isStop(f.action.Kind)
	}
	return starting, stopping
}

func isStart(k plan.Kind) bool {
	return k == plan.CgroupCreate || k == plan.SandboxCreate || k == plan.ContainerStart
}

func isStop(k plan.Kind) bool { return k == plan.SandboxStop || k == plan.SandboxRemove }

func (l *loop) turn(limit *Limit, wanted bool, in plan.Input) bool {
	if !wanted {
		limit.release(l.uid)
		return false
	}
	p := in.Desired.Pod
	return limit.take(l.uid, turn{Critical: pod.IsCritical(p), Since: p.CreationTimestamp.Time, Granted: func() { l.poke(false) }})
}

func (l *loop) release() {
	l.cfg.Starts.release(l.uid)
	l.cfg.Stops.release(l.uid)
}

func (l *loop) start(ctx context.Context, in plan.Input, a plan.Action) {
	ctx, cancel := context.WithCancel(ctx)
	l.mem.flights[a.Key()] = flight{action: a, cancel: cancel}
	l.running.Go(func() {
		l.boundary(a, "before")
		begin := time.Now()
		image, err := l.cfg.Actor.Do(ctx, in, a)
		slog.Debug("an action ended", "uid", l.uid, "action", a.Key(), "took", time.Since(begin), "err", err)
		l.boundary(a, "after")
		l.results <- result{action: a, image: image, err: err}
	})
}

func (l *loop) boundary(a plan.Action, edge string) {
	if l.cfg.Boundary != nil {
		l.cfg.Boundary(a, edge)
	}
}

// cancel ends what new facts made pointless.
func (l *loop) cancel(in plan.Input) {
	for _, a := range plan.Canceled(in.InFlight, in) {
		if f, ok := l.mem.flights[a.Key()]; ok {
			f.cancel()
		}
	}
}

// settle files the outcome of one action: failures by key, and what of a success cannot be seen on the node.
func (l *loop) settle(r result) {
	m, key := &l.mem, r.action.Key()
	m.flights[key].cancel()
	delete(m.flights, key)
	switch r.action.Kind {
	case plan.CgroupCreate, plan.CgroupRemove, plan.VolumeMount, plan.VolumeRefresh, plan.VolumeUnmount, plan.ImagePull,
		plan.ImageLook, plan.DirRemove:
	case plan.PodResize:
		l.cfg.Observer.Refresh(l.uid)
		l.stale.Store(true)
	default:
		l.stale.Store(true)
	}
	m.record = remember(m.record, r.action, r.err)
	switch {
	case r.err == nil:
		m.ended[key] = ending{action: r.action, before: m.failures[key].Count}
		m.failures = without(m.failures, r.action.Ends())
		if r.image != nil {
			m.images = maps.Clone(m.images)
			m.images[r.action.Name] = *r.image
		}
	case errors.Is(r.err, context.Canceled):
	default:
		l.fail(r.action, m.failures[key].Count, r.err)
	}
}

// fail files a failure. The map is replaced, not changed: actions in flight hold inputs that share it.
func (l *loop) fail(a plan.Action, before int, err error) {
	class := ""
	if e, ok := errors.AsType[*pod.Error](err); ok {
		class = e.Class
	}
	m, key := &l.mem, a.Key()
	f := pod.Failure{Count: before + 1, Last: time.Now(), Class: class, Text: err.Error()}
	m.failures = maps.Clone(m.failures)
	m.failures[key] = f
	level := slog.LevelWarn
	if a.Kind == plan.ImageLook { // what it follows was told
		level = slog.LevelDebug
	}
	slog.Log(context.Background(), level, "an action failed", "pod", pod.FullName(l.desired.Load().Pod), "uid", l.uid, "action", key, "count", f.Count, "err", err)
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

// forgiven ends the backoff of what rests on objects that a pod names, and on images that were imported. What went wrong is still told until it succeeds.
func forgiven(failures pod.Failures) pod.Failures {
	out := maps.Clone(failures)
	for key, f := range out {
		kind, _, _ := strings.Cut(key, "/")
		if k := plan.Kind(kind); k == plan.VolumeMount || k == plan.VolumeRefresh || k == plan.ContainerStart || k == plan.ImagePull {
			f.Count, f.Last = 0, time.Time{}
			out[key] = f
		}
	}
	return out
}

// remember is what the record learns from the end of an action. Postponed facts cannot be seen on the node: that a hook
// has ended, and that a sandbox's network was released.
func remember(r pod.Record, a plan.Action, err error) pod.Record {
	switch a.Kind {
	case plan.PostStart, plan.PreStop:
		h := r.Hooks[a.ID]
		if a.Kind == plan.PostStart {
			h.PostStart = ended(err)
		} else {
			h.PreStop = ended(err)
		}
		r.Hooks = maps.Clone(r.Hooks)
		if r.Hooks == nil {
			r.Hooks = map[string]pod.Hooks{}
		}
		r.Hooks[a.ID] = h
	case plan.SandboxStop:
		if err == nil {
			r.Released = append(r.Released[:len(r.Released):len(r.Released)], a.ID)
		}
	}
	return r
}

func ended(err error) pod.HookState {
	switch {
	case err == nil:
		return pod.HookDone
	case errors.Is(err, context.Canceled):
		return pod.HookBegun
	}
	return pod.HookFailed
}

// sameRecord reports whether two records would be the same file, or as good as.
func sameRecord(a, b pod.Record) bool {
	return a.Pod == b.Pod && a.Source == b.Source && sameValue(a.Stop, b.Stop) && sameValue(a.Verdict, b.Verdict) && sameValue(a.Restart, b.Restart) &&
		maps.Equal(a.Attempts, b.Attempts) && maps.Equal(a.Backoff, b.Backoff) && maps.Equal(a.Hooks, b.Hooks) &&
		slices.Equal(a.Released, b.Released) && sameStatus(a.Status, b.Status)
}

// sameStatus also holds for two of a pod none of whose containers has run: all that is lost with the second can be seen
// again, and a pod on its way up is not written down at each step.
func sameStatus(a, b v1.PodStatus) bool {
	return nothingRan(a) && nothingRan(b) || apiequality.Semantic.DeepEqual(a, b)
}

func nothingRan(s v1.PodStatus) bool {
	for c := range pod.Statuses(&s) {
		if c.State.Waiting == nil || c.LastTerminationState.Terminated != nil || c.RestartCount > 0 {
			return false
		}
	}
	return s.Phase == v1.PodPending
}

func sameValue[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
