package loop

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/life"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// launch starts a turn's actions beside the loop. Those that weigh on the machine wait for the pod's place; a granted place pokes.
func (l *loop) launch(ctx context.Context, t life.Turn) {
	starting, stopping := l.life.Weighs(t)
	start, stop := l.place(l.cfg.Starts, starting, t.Input), l.place(l.cfg.Stops, stopping, t.Input)
	for _, a := range t.Due(start, stop) {
		l.start(ctx, t.Input, a)
	}
}

// place reports whether the pod has a place among those of a limit; one that it does not want is given back.
func (l *loop) place(limit *Limit, wanted bool, in plan.Input) bool {
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
	l.cancels[a.Key()] = cancel
	l.life.Begin(a)
	l.running.Go(func() {
		l.boundary(a, "before")
		begin := time.Now()
		image, err := l.cfg.Actor.Do(ctx, in, a)
		slog.Debug("an action ended", "uid", l.uid, "action", a.Key(), "took", time.Since(begin), "err", err)
		l.boundary(a, "after")
		l.results <- life.Result{Action: a, Image: image, Err: err, Canceled: errors.Is(err, context.Canceled)}
	})
}

func (l *loop) boundary(a plan.Action, edge string) {
	if l.cfg.Boundary != nil {
		l.cfg.Boundary(a, edge)
	}
}

// settle takes the outcome of one action.
func (l *loop) settle(r life.Result) {
	l.ended(r.Action)
	if r.Action.Kind == plan.PodResize {
		l.cfg.Observer.Refresh(l.uid)
	}
	if f := l.life.End(r, time.Now()); f != nil {
		l.tell(*f)
	}
}

// ended frees what an action in flight holds.
func (l *loop) ended(a plan.Action) {
	l.cancels[a.Key()]()
	delete(l.cancels, a.Key())
}

// tell logs a failure.
func (l *loop) tell(f life.Failed) {
	level := slog.LevelWarn
	if f.Action.Kind == plan.ImageLook { // what it follows was told
		level = slog.LevelDebug
	}
	slog.Log(context.Background(), level, "an action failed", "pod", pod.FullName(l.desired.Load().Pod), "uid", l.uid,
		"action", f.Action.Key(), "count", f.Failure.Count, "err", f.Failure.Text)
}
