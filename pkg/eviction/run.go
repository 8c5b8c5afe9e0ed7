package eviction

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

const (
	// hardGrace is what a pod has to end when a hard threshold or one of its own limits is crossed.
	hardGrace = time.Second
	// patience is how long the end of an evicted pod is waited for before the next must go.
	patience = 30 * time.Second
	// defaultTransition is how long a pressure stands after it was seen last.
	defaultTransition = 5 * time.Minute
	// soon is the pause between looks while memory is nearly short or an evicted pod is on its way out.
	soon = time.Second
)

// What a pod is evicted for beside the signals of thresholds: a limit of its own.
const (
	emptyDirLimit  = "emptydirfs.limit"
	podLimit       = "ephemeralpodfs.limit"
	containerLimit = "ephemeralcontainerfs.limit"
)

// Stats is where measurements come from.
type Stats interface {
	Node(context.Context) (stats.Node, error)
	Memory(context.Context, []*v1.Pod) (map[types.UID]stats.Pod, error)
	Disk(context.Context, []*v1.Pod) (map[types.UID]stats.Pod, error)
}

// Pods is the set of pods that eviction chooses from and orders to stop.
type Pods interface {
	Active() []*v1.Pod                  // pods that have something running and no order to stop
	Gone(uid types.UID) bool            // nothing of the pod runs any more
	Evict(uid types.UID, stop pod.Stop) // does not wait for the pod to stop
}

// Limits are what may change while a Guard runs.
type Limits struct {
	Thresholds  []Threshold
	Transition  time.Duration // evictionPressureTransitionPeriod; zero is 5 min
	MaxPodGrace time.Duration // evictionMaxPodGracePeriod, for soft thresholds
}

// Config is what a Guard works with.
type Config struct {
	Limits
	Interval   time.Duration // between looks; zero is 10 s
	Standalone bool          // no API server: static pods may be evicted, too
	Stats      Stats
	Changed    func()                                       // the node's pressure has changed; may be nil
	Event      func(p *v1.Pod, typ, reason, message string) // a nil pod is the node
	Evicted    func(signal string)                          // a pod was ordered to stop, for this; may be nil
	Log        *slog.Logger
}

// With is what a Guard runs with: parts that are made after it, as they want to know the pressure.
type With struct {
	Pods    Pods
	Reclaim []func(context.Context) error // free disk without harm to pods: dead containers, unused images
}

// Guard watches the node.
type Guard struct {
	cfg   Config
	with  With // from Run on
	state state
	wake  chan struct{} // to Run: look again
	order sync.Mutex    // one eviction at a time

	mu       sync.Mutex
	pressure []v1.NodeConditionType
	newer    *Limits   // taken up at the next look
	evicted  types.UID // ordered to stop for the node's sake, maybe not gone yet
	since    time.Time // of that order
	busy     bool      // with the disk
}

// New returns a guard. It looks at nothing before Run.
func New(cfg Config) *Guard {
	cfg.Transition = cmp.Or(cfg.Transition, defaultTransition)
	if cfg.Interval == 0 {
		cfg.Interval = 10 * time.Second
	}
	return &Guard{cfg: cfg, wake: make(chan struct{}, 1)}
}

// SetLimits changes the limits from the next look on. Soft thresholds begin to count anew; a pressure that stands goes on
// to stand for the transition period.
func (g *Guard) SetLimits(l Limits) {
	l.Transition = cmp.Or(l.Transition, defaultTransition)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.newer = &l
}

func (g *Guard) takeLimits() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.newer != nil {
		g.cfg.Limits, g.newer = *g.newer, nil
		g.state.since, g.state.due = nil, nil // they go by the index of a threshold
	}
}

// Pressure is what the node is short of, sorted; empty when it is well.
func (g *Guard) Pressure() []v1.NodeConditionType {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.pressure)
}

// Run watches until the context ends. What takes its time, measuring and freeing the disk, goes on beside: the look at the
// node's memory, and who must go for it, never wait for that.
func (g *Guard) Run(ctx context.Context, with With) {
	g.with = with
	var disk sync.WaitGroup
	defer disk.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-g.wake:
		case <-ctx.Done():
			return
		}
		wait, look := g.pass(ctx)
		if g.begin() {
			disk.Go(func() {
				defer g.end()
				g.disk(ctx, look)
			})
		}
		timer.Reset(wait)
	}
}

// begin reports whether the disk may be looked at: one look after another.
func (g *Guard) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.busy
	g.busy = true
	return first
}

func (g *Guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
}

// look is what one look at the node has found.
type look struct {
	limits Limits // that held
	due    []Threshold
	seen   observations
	pods   []*v1.Pod
	shared bool
}

// first is the threshold that something must be done about first, of the disk or of all else.
func (l look) first(ofDisk bool) (Threshold, bool) {
	i := slices.IndexFunc(l.due, func(t Threshold) bool { return t.ofDisk() == ofDisk })
	if i < 0 {
		return Threshold{}, false
	}
	return l.due[i], true
}

// pass looks at the node once, relieves its memory, and says when to look again.
func (g *Guard) pass(ctx context.Context) (time.Duration, look) {
	g.takeLimits()
	now := time.Now()
	node, err := g.cfg.Stats.Node(ctx)
	if err != nil && ctx.Err() == nil {
		g.cfg.Log.Warn("cannot measure all of the node", "error", err)
	}
	l := look{limits: g.cfg.Limits, seen: observe(node), shared: node.Shared}
	var pressure []v1.NodeConditionType
	g.state, l.due, pressure = g.state.next(g.cfg.Thresholds, l.seen, g.cfg.Transition, now)
	g.publish(pressure)

	l.pods = candidates(g.with.Pods.Active(), g.cfg.Standalone)
	if t, ok := l.first(false); ok && !g.waiting(now) && !g.relieve(ctx, t, l) {
		return g.cfg.Interval, l // looking sooner would not help
	}
	if g.waiting(now) || near(g.cfg.Thresholds, l.seen) {
		return min(soon, g.cfg.Interval), l
	}
	return g.cfg.Interval, l
}

// disk enforces the pods' own limits and relieves the node's disk. What one pod gives back is seen at the next look, so
// nobody else has to go at this one.
func (g *Guard) disk(ctx context.Context, l look) {
	if g.enforceLimits(ctx, l.pods, l.shared) || ctx.Err() != nil {
		return
	}
	t, ok := l.first(true)
	if !ok || g.waiting(time.Now()) {
		return
	}
	if g.relieve(ctx, t, l) && g.waiting(time.Now()) {
		select { // whether the pod is gone is looked at soon
		case g.wake <- struct{}{}:
		default:
		}
	}
}

// waiting reports whether a pod that was evicted is still on its way out.
func (g *Guard) waiting(now time.Time) bool {
	g.mu.Lock()
	evicted, since := g.evicted, g.since
	g.mu.Unlock()
	return evicted != "" && now.Sub(since) < patience && !g.with.Pods.Gone(evicted)
}

// relieve frees what a threshold asks for: first what no pod misses, then at most one pod. It reports whether it could.
func (g *Guard) relieve(ctx context.Context, t Threshold, l look) bool {
	info, _ := t.Signal.info()
	g.cfg.Event(nil, v1.EventTypeWarning, "EvictionThresholdMet", "Attempting to reclaim "+string(info.resource))
	if t.ofDisk() {
		for _, reclaim := range g.with.Reclaim {
			if err := reclaim(ctx); err != nil {
				g.cfg.Log.Warn("cannot free what is not used", "resource", info.resource, "error", err)
			}
		}
		node, err := g.cfg.Stats.Node(ctx)
		if after := observe(node); err == nil && !slices.ContainsFunc(l.limits.Thresholds, func(t Threshold) bool { return t.crossed(after, true) }) {
			g.cfg.Log.Info("freed enough without evicting a pod", "resource", info.resource)
			return true
		}
	}
	measure := g.cfg.Stats.Disk
	if !t.ofDisk() {
		measure = g.cfg.Stats.Memory
	}
	used, err := measure(ctx, l.pods)
	if err != nil {
		g.cfg.Log.Warn("cannot measure all pods", "error", err)
	}
	if ctx.Err() != nil || err != nil && len(used) == 0 {
		return false // blind: any choice would be a wrong one
	}
	p := victim(t.Signal, l.pods, used, l.shared)
	if p == nil {
		g.cfg.Log.Error("the node is short of a resource and has no pod that may be evicted", "resource", info.resource)
		return false
	}
	grace := hardGrace
	if t.Soft {
		grace = min(l.limits.MaxPodGrace, pod.GracePeriod(p))
	}
	if !g.evict(p, string(t.Signal), grace, message(t, l.seen, p, used[p.UID])) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.evicted, g.since = p.UID, time.Now()
	return true
}

// enforceLimits evicts the pods that exceed their own limits of local storage, and reports whether there were any.
func (g *Guard) enforceLimits(ctx context.Context, pods []*v1.Pod, shared bool) (any bool) {
	var limited []*v1.Pod
	for _, p := range pods {
		if hasLimits(p) {
			limited = append(limited, p)
		}
	}
	if len(limited) == 0 {
		return false
	}
	used, err := g.cfg.Stats.Disk(ctx, limited)
	if err != nil && ctx.Err() == nil {
		g.cfg.Log.Warn("cannot measure all of the pods' local storage", "error", err)
	}
	for _, p := range limited {
		if which, why := overLimit(p, used[p.UID], shared); why != "" && g.evict(p, which, hardGrace, why) {
			any = true
		}
	}
	return any
}

// evict orders a pod to stop, unless it was meanwhile: the disk is looked at beside the memory, and takes its time.
func (g *Guard) evict(p *v1.Pod, signal string, grace time.Duration, message string) bool {
	g.order.Lock()
	defer g.order.Unlock()
	if !slices.ContainsFunc(g.with.Pods.Active(), func(a *v1.Pod) bool { return a.UID == p.UID }) {
		return false
	}
	g.cfg.Log.Info("evicting a pod", "pod", pod.FullName(p), "uid", p.UID, "reason", message)
	g.cfg.Event(p, v1.EventTypeWarning, "Evicted", message)
	if g.cfg.Evicted != nil {
		g.cfg.Evicted(signal)
	}
	g.with.Pods.Evict(p.UID, pod.Stop{Reason: "Evicted", Message: message, Grace: grace, At: time.Now(), By: "eviction"})
	return true
}

func (g *Guard) publish(pressure []v1.NodeConditionType) {
	g.mu.Lock()
	changed := !slices.Equal(g.pressure, pressure)
	g.pressure = pressure
	g.mu.Unlock()
	if !changed {
		return
	}
	g.cfg.Log.Info("the node's pressure has changed", "conditions", pressure)
	if g.cfg.Changed != nil {
		g.cfg.Changed()
	}
}
