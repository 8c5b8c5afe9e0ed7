package loop

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// node plays the life of loops: what is removed, or deleted at its source, ends at some time.
type node struct {
	members map[types.UID]member
	wanted  map[types.UID]pod.Desired
	ending  map[types.UID]bool
	gone    map[types.UID]bool
}

func (n *node) reconcile(t *testing.T) {
	t.Helper()
	s := reconcile(n.members, n.wanted, n.gone, always)
	for _, uid := range s.remove {
		n.ending[uid] = true
	}
	for _, d := range s.update {
		n.ending[d.Pod.UID] = n.ending[d.Pod.UID] || d.Pod.DeletionTimestamp != nil
	}
	for _, d := range s.begin {
		for _, m := range n.members {
			if m.name == pod.FullName(d.Pod) {
				t.Fatalf("%s begins beside another of its name", m.name)
			}
		}
		if _, twice := n.members[d.Pod.UID]; twice {
			t.Fatalf("%s begins twice", d.Pod.UID)
		}
		n.members[d.Pod.UID] = member{name: pod.FullName(d.Pod), hash: identity(d), source: d.Source, named: true}
		n.ending[d.Pod.UID] = d.Pod.DeletionTimestamp != nil
	}
}

func (n *node) end(uid types.UID) {
	delete(n.members, uid)
	delete(n.ending, uid)
	n.gone[uid] = true
}

// randomWanted names a few pods, some with the name of another, some edited under their UID, some deleted by the API server.
func randomWanted(r *rand.Rand) map[types.UID]pod.Desired {
	wanted := map[types.UID]pod.Desired{}
	for i := range 6 {
		if r.IntN(3) == 0 {
			continue
		}
		d := pod.Desired{Pod: testPod(fmt.Sprint("p", i/2), fmt.Sprint("u", i)), Source: pod.SourceFile}
		d.Pod.CreationTimestamp = metav1.Time{}
		d.Pod.Annotations = map[string]string{pod.AnnotationHash: fmt.Sprint(r.IntN(2))}
		if i%3 == 0 {
			d.Source, d.Pod.Annotations = pod.SourceAPI, nil
			if r.IntN(3) == 0 {
				d.Pod.DeletionTimestamp = &metav1.Time{}
			}
		}
		wanted[d.Pod.UID] = d
	}
	return wanted
}

func TestReconcile_LeavesNoWantedPodWithoutALoop(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := &node{members: map[types.UID]member{}, ending: map[types.UID]bool{}, gone: map[types.UID]bool{}}
		for range 30 {
			if ending := slices.Sorted(maps.Keys(n.ending)); r.IntN(2) == 0 && len(ending) > 0 {
				if uid := ending[r.IntN(len(ending))]; n.ending[uid] {
					n.end(uid)
				}
			} else {
				n.wanted = randomWanted(r)
				maps.DeleteFunc(n.gone, func(uid types.UID, _ bool) bool { _, ok := n.wanted[uid]; return !ok })
			}
			n.reconcile(t)
		}
		for again := true; again; n.reconcile(t) { // the sources rest: all that ends comes to its end
			again = false
			for uid, ending := range maps.Clone(n.ending) {
				if ending {
					n.end(uid)
					again = true
				}
			}
		}
		has := map[string]types.UID{}
		for uid, m := range n.members {
			has[m.name] = uid
			if d, wanted := n.wanted[uid]; !wanted || m.hash != identity(d) {
				t.Fatalf("seed %d: %s runs and is not wanted so", seed, uid)
			}
		}
		for uid, d := range n.wanted {
			if other := has[pod.FullName(d.Pod)]; other == "" && d.Pod.DeletionTimestamp == nil {
				t.Fatalf("seed %d: %s is wanted and has no loop", seed, uid)
			}
		}
	}
}

func TestReconcile_KeepsWhatItsSourceHasNotSpokenOf(t *testing.T) {
	members := map[types.UID]member{
		"a": {name: "default/a", source: pod.SourceFile},
		"b": {name: "default/b", source: pod.SourceFile, named: true},
		"c": {name: "default/c", source: pod.SourceHTTP},
	}
	synced := func(s pod.Source) bool { return s == pod.SourceHTTP }
	got := reconcile(members, nil, nil, synced).remove
	slices.Sort(got)
	if d := cmp.Diff([]types.UID{"b", "c"}, got); d != "" {
		t.Errorf("removed: %s", d)
	}
}

// static is a pod of a file whose UID its author chose.
func static(name, uid, hash string) *v1.Pod {
	p := testPod(name, uid)
	p.Annotations = map[string]string{pod.AnnotationHash: hash, pod.AnnotationSource: string(pod.SourceFile)}
	return p
}

func TestSet_StartsAPodAgainThatIsWantedBackWhileItEnds(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		w.slow = plan.ContainerStop
		p := static("web", "u1", "h")
		s.Apply(ctx, desired(p), always)
		synctest.Wait()
		began := len(w.actions())
		s.Apply(ctx, nil, always)
		pass(time.Second)
		s.Apply(ctx, desired(static("web", "u1", "h")), always)
		pass(time.Minute)
		if len(w.ended) != 1 || len(w.actions()) < 2*began {
			t.Fatalf("ended %v, did %v: want one end and a second start", w.ended, w.actions())
		}
		if got := s.Pod("u1"); got == nil || got.Status.Phase != v1.PodRunning {
			t.Error("the pod does not run again")
		}
	})
}

func TestSet_ReplacesAStaticPodThatIsEditedUnderItsUID(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		s.Apply(ctx, desired(static("web", "u1", "old")), always)
		synctest.Wait()
		edited := static("web", "u1", "new")
		edited.Spec.Containers[0].Command = []string{"other"}
		s.Apply(ctx, desired(edited), always)
		pass(time.Minute)
		got := s.Pod("u1")
		if len(w.ended) != 1 || got == nil || got.Status.Phase != v1.PodRunning || len(got.Spec.Containers[0].Command) == 0 {
			t.Errorf("ended %v: want the edited pod to run in place of the old one", w.ended)
		}
	})
}

func TestSet_AnEditWhileTheAgentWasDownReplacesAStaticPod(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		first, stop := context.WithCancel(ctx)
		s.Apply(first, desired(static("web", "u1", "old")), always)
		synctest.Wait()
		stop()
		s.Wait()
		second, stop := context.WithCancel(ctx)
		again := NewSet(w.config(), fits, nil)
		again.Adopt(second, maps.Clone(w.saved))
		again.Apply(second, desired(static("web", "u1", "new")), always)
		pass(time.Minute)
		if got := again.Pod("u1"); len(w.ended) != 1 || got == nil || got.Annotations[pod.AnnotationHash] != "new" {
			t.Errorf("ended %v: want the edited pod in place of the old one", w.ended)
		}
		stop()
		again.Wait()
	})
}

func TestSet_DoesNotStartAgainWhatTheAPIServerDeletes(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		p := testPod("web", "u1")
		api := func(p *v1.Pod) map[types.UID]pod.Desired {
			return map[types.UID]pod.Desired{p.UID: {Pod: p, Source: pod.SourceAPI}}
		}
		s.Apply(ctx, api(p), always)
		synctest.Wait()
		did := len(w.actions())
		doomed := p.DeepCopy()
		doomed.DeletionTimestamp, doomed.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, new(int64(0))
		for range 3 { // the watch goes on naming it
			s.Apply(ctx, api(doomed.DeepCopy()), always)
			pass(time.Minute)
		}
		if len(w.ended) != 1 || s.Has("u1") || slices.Contains(w.actions()[did:], string(plan.SandboxCreate)) {
			t.Errorf("ended %v, has a loop: %t, did %v", w.ended, s.Has("u1"), w.actions()[did:])
		}
	})
}
