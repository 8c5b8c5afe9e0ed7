package loop

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Admit decides, once and before a pod has a loop, whether it may run beside those that do: nil means yes.
type Admit func(running []*v1.Pod, p *v1.Pod) *pod.Verdict

// Resize decides whether a pod may have the resources that it asks for now, beside the others that run: nil means yes.
type Resize func(others []*v1.Pod, p *v1.Pod) *pod.Reason

// Orphan is a pod that the node has something of and that nobody wants.
type Orphan struct {
	UID             types.UID
	Namespace, Name string
}

// Set maps pods to their loops. Which pods have one is decided by reconcile alone; admission is decided here, serially.
type Set struct {
	*Wakes
	cfg    *Config
	admit  Admit
	resize Resize

	mu      sync.Mutex
	entries map[types.UID]*entry
	wanted  map[types.UID]pod.Desired // as last applied
	gone    map[types.UID]bool        // ended because their source deletes them, and still named by it
	synced  func(pod.Source) bool     // as last applied
	group   sync.WaitGroup
}

type entry struct {
	loop  *loop
	named bool           // see member
	grace *time.Duration // the deletion grace period that was last turned into an order
	never bool           // it does not run here: it was refused, or had ended before this node saw it
}

// NewSet makes an empty set; Adopt and Apply fill it.
func NewSet(cfg *Config, admit Admit, resize Resize) *Set {
	return &Set{
		Wakes: cfg.Wakes, cfg: cfg, admit: admit, resize: resize, entries: map[types.UID]*entry{}, wanted: map[types.UID]pod.Desired{}, gone: map[types.UID]bool{},
		synced: func(pod.Source) bool { return false },
	}
}

// Adopt starts a loop for each pod that the agent remembers. It is called before Apply. The loops end with ctx.
func (s *Set) Adopt(ctx context.Context, records map[types.UID]pod.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, uid := range slices.Sorted(maps.Keys(records)) {
		r := records[uid]
		s.begin(ctx, pod.Desired{Pod: r.Pod, Source: r.Source, Stop: r.Stop}, r)
	}
}

// Apply makes wanted the pods of this node. A pod that is no longer among them is stopped and removed. One that runs from
// before and was not among them either is left alone until synced says that its source has said all that it holds.
func (s *Set) Apply(ctx context.Context, wanted map[types.UID]pod.Desired, synced func(pod.Source) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted, s.synced = wanted, synced
	for uid := range wanted {
		if e := s.entries[uid]; e != nil {
			e.named = true
		}
	}
	s.reconcile(ctx)
}

// reconcile brings the loops in line with what is wanted. It is called after every change of either.
func (s *Set) reconcile(ctx context.Context) {
	now := time.Now()
	maps.DeleteFunc(s.gone, func(uid types.UID, _ bool) bool { _, named := s.wanted[uid]; return !named })
	members := make(map[types.UID]member, len(s.entries))
	for uid, e := range s.entries {
		d := e.loop.desired.Load()
		members[uid] = member{name: pod.FullName(d.Pod), hash: identity(*d), source: d.Source, named: e.named}
	}
	next := reconcile(members, s.wanted, s.gone, s.synced)
	for _, uid := range next.remove {
		d := s.entries[uid].loop.desired.Load()
		s.entries[uid].order(pod.Stop{Grace: pod.GracePeriod(d.Pod), At: now, By: string(d.Source), Remove: true})
	}
	for _, d := range next.update {
		e := s.entries[d.Pod.UID]
		e.update(s.allocate(e, d), now)
	}
	for _, d := range next.begin {
		if s.gone[d.Pod.UID] && s.cfg.Restarted != nil {
			s.cfg.Restarted(pod.IsStatic(d.Pod))
		}
		r := s.judge(d, now)
		e := s.begin(ctx, d, r)
		e.named, e.never = true, r.Verdict != nil
		e.update(d, now)
	}
}

// judge makes the first record of a pod that the agent does not remember. What its source already knows of it holds: a
// pod that has ended does not run again, and no count goes back.
func (s *Set) judge(d pod.Desired, now time.Time) pod.Record {
	r := pod.Record{Pod: d.Pod, Source: d.Source, Status: *d.Pod.Status.DeepCopy()}
	switch st := d.Pod.Status; {
	case pod.IsOver(d.Pod):
		r.Verdict = &pod.Verdict{Phase: st.Phase, Reason: st.Reason, Message: st.Message, At: now}
		return r
	case d.Pod.DeletionTimestamp != nil || hasRun(st):
		return r
	}
	if r.Verdict = s.admit(s.live(), d.Pod); r.Verdict != nil {
		slog.Warn("refused a pod", "pod", pod.FullName(d.Pod), "uid", d.Pod.UID, "reason", r.Verdict.Reason, "message", r.Verdict.Message)
		s.cfg.Event(d.Pod, "", v1.EventTypeWarning, r.Verdict.Reason, r.Verdict.Message)
		if s.cfg.Rejected != nil {
			s.cfg.Rejected(r.Verdict.Reason)
		}
		r.Verdict.Rejected = true
		r.Verdict.Message = "Pod was rejected: " + r.Verdict.Message // in the status, as a kubelet writes it there
	}
	return r
}

// hasRun reports whether the source knows that this node has taken the pod before.
func hasRun(st v1.PodStatus) bool { return st.StartTime != nil }

// live lists the pods that have not ended.
func (s *Set) live() []*v1.Pod {
	var pods []*v1.Pod
	for _, e := range s.entries {
		if p := e.loop.shown.Load(); !e.never && !pod.IsOver(p) {
			pods = append(pods, p)
		}
	}
	return pods
}

// begin starts a loop. When it ends, a pod that waited for that may start: one of the same name, or the same one again.
func (s *Set) begin(ctx context.Context, d pod.Desired, r pod.Record) *entry {
	uid := d.Pod.UID
	e := &entry{loop: newLoop(s.cfg, d, r)}
	s.entries[uid] = e
	s.add(e.loop)
	s.group.Go(func() {
		if !e.loop.run(ctx) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.entries, uid)
		s.remove(e.loop)
		s.gone[uid] = true
		s.reconcile(ctx)
	})
	return e
}

// Bury starts the teardown of pods that the node has something of, that no source names and nobody remembers.
func (s *Set) Bury(ctx context.Context, orphans []Orphan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range orphans {
		if _, named := s.wanted[o.UID]; named || s.entries[o.UID] != nil {
			continue
		}
		slog.Info("remove what is left of a pod that nothing names", "pod", o.Namespace+"/"+o.Name, "uid", o.UID)
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: o.UID, Namespace: o.Namespace, Name: o.Name}}
		stop := &pod.Stop{Grace: pod.GracePeriod(p), At: time.Now(), By: "orphan", Remove: true}
		s.begin(ctx, pod.Desired{Pod: p, Stop: stop}, pod.Record{Pod: p, Stop: stop})
	}
}

// update gives a loop the newest specification, and the order that a deletion of it means.
func (e *entry) update(d pod.Desired, now time.Time) {
	old := e.loop.desired.Load()
	var order *pod.Stop
	if d.Pod.DeletionTimestamp != nil {
		grace := pod.GracePeriod(d.Pod)
		if e.grace == nil || d.Pod.DeletionGracePeriodSeconds != nil && grace != *e.grace {
			e.grace = &grace
			order = &pod.Stop{Grace: grace, At: now, By: string(pod.SourceAPI), Remove: true}
		}
	}
	if old.Pod == d.Pod && order == nil {
		return
	}
	d.Stop = pod.Stricter(old.Stop, order)
	e.loop.desired.Store(&d)
	e.loop.poke(false)
}

// order gives a loop a stop order; one that changes nothing does not wake it.
func (e *entry) order(stop pod.Stop) {
	d := *e.loop.desired.Load()
	merged := pod.Stricter(d.Stop, &stop)
	if d.Stop != nil && *merged == *d.Stop {
		return
	}
	d.Stop = merged
	e.loop.desired.Store(&d)
	e.loop.poke(false)
}

// stop orders one pod to end, as eviction does. It reports whether the pod is here.
func (s *Set) stop(uid types.UID, stop pod.Stop) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[uid]
	if e != nil {
		e.order(stop)
	}
	return e != nil
}

// Has reports whether a pod has a loop.
func (s *Set) Has(uid types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[uid] != nil
}

// stopping reports whether a pod was ordered to end.
func (s *Set) stopping(uid types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[uid]
	return e != nil && e.loop.desired.Load().Stop != nil
}

// Pod returns a pod with its latest status, or nil. The value is shared: read only.
func (s *Set) Pod(uid types.UID) *v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[uid]; e != nil {
		return e.loop.shown.Load()
	}
	return nil
}

// Pods returns every pod of the node with its latest status, by namespace and name. The values are shared: read only.
func (s *Set) Pods() []*v1.Pod {
	s.mu.Lock()
	pods := make([]*v1.Pod, 0, len(s.entries))
	for _, e := range s.entries {
		pods = append(pods, e.loop.shown.Load())
	}
	s.mu.Unlock()
	slices.SortFunc(pods, func(a, b *v1.Pod) int { return strings.Compare(pod.FullName(a), pod.FullName(b)) })
	return pods
}

// Wait returns when every loop has ended.
func (s *Set) Wait() { s.group.Wait() }
