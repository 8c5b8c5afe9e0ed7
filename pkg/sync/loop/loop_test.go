package loop

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// world is a node in memory: it is observed, acted upon, and keeps records.
type world struct {
	mu      sync.Mutex
	pods    map[types.UID]*pod.Observed
	did     []string
	saved   map[types.UID]pod.Record
	full    bool                    // the disk
	inert   map[plan.Kind]bool      // actions that succeed and change nothing
	fails   map[plan.Kind]error     // actions that fail
	slow    plan.Kind               // takes 10 s
	looks   int                     // at the runtime
	blind   error                   // of a look at the runtime
	ended   []string                // names reported finished
	events  []string                // reasons
	reports map[string]v1.PodStatus // by name
}

func newWorld() *world {
	return &world{
		pods: map[types.UID]*pod.Observed{}, saved: map[types.UID]pod.Record{}, inert: map[plan.Kind]bool{},
		fails: map[plan.Kind]error{}, reports: map[string]v1.PodStatus{},
	}
}

func (w *world) pod(uid types.UID) *pod.Observed {
	if w.pods[uid] == nil {
		w.pods[uid] = &pod.Observed{}
	}
	return w.pods[uid]
}

func (w *world) Runtime(_ context.Context, uid types.UID) ([]pod.Sandbox, []pod.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looks++; w.blind != nil {
		return nil, nil, w.blind
	}
	return slices.Clone(w.pod(uid).Sandboxes), slices.Clone(w.pod(uid).Containers), nil
}

func (w *world) Local(uid types.UID) (pod.Observed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.pod(uid)
	return pod.Observed{Mounts: maps.Clone(o.Mounts), Cgroup: o.Cgroup, CgroupLeft: o.Cgroup, Dir: o.Dir}, nil
}

func (w *world) Do(ctx context.Context, in plan.Input, a plan.Action) (*pod.Image, error) {
	if a.Kind == w.slow {
		time.Sleep(10 * time.Second)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, a.Key())
	if err := w.fails[a.Kind]; err != nil || w.inert[a.Kind] {
		return nil, err
	}
	o := w.pod(in.Desired.Pod.UID)
	switch a.Kind {
	case plan.CgroupCreate:
		o.Cgroup, o.Dir = true, true
	case plan.ImagePull:
		c, _ := pod.SpecOf(in.Desired.Pod, a.Name)
		return &pod.Image{Ref: c.Image, ID: "image", Attempt: a.Attempt}, nil
	case plan.SandboxCreate:
		o.Sandboxes = append([]pod.Sandbox{{ID: "box-" + in.Desired.Pod.Name, Ready: true, IPs: []string{"10.0.0.1"}}}, o.Sandboxes...)
	case plan.ContainerStart:
		c, _ := pod.SpecOf(in.Desired.Pod, a.Name)
		o.Containers = append([]pod.Container{{
			ID: "c-" + in.Desired.Pod.Name + a.Name, Name: a.Name, SandboxID: o.Sandboxes[0].ID, Attempt: a.Attempt,
			Hash: pod.ContainerHash(c), State: pod.ContainerRunning, CreatedAt: in.Now, StartedAt: in.Now,
		}}, o.Containers...)
	case plan.ContainerStop:
		o.Containers[0].State, o.Containers[0].FinishedAt, o.Containers[0].Reason = pod.ContainerExited, in.Now, "Completed"
	case plan.SandboxStop:
		o.Sandboxes[0].Ready = false
	case plan.SandboxRemove:
		o.Sandboxes, o.Containers = nil, nil
	case plan.ContainerRemove:
		o.Containers = nil
	case plan.CgroupRemove:
		o.Cgroup = false
	case plan.DirRemove:
		o.Dir = false
	}
	return nil, nil
}

func (w *world) Save(uid types.UID, r pod.Record, _ bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return errors.New("no space left on device")
	}
	w.saved[uid] = r
	return nil
}

func (w *world) Delete(uid types.UID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.saved, uid)
	return nil
}

func (w *world) Refresh(types.UID)             {}
func (w *world) Renew(types.UID)               {}
func (w *world) Sync(plan.Input)               {}
func (w *world) Verdicts(types.UID) pod.Health { return nil }
func (w *world) Stop(types.UID)                {}
func (w *world) Finished(p *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, p.Name)
}
func (w *world) Report(p *v1.Pod, s v1.PodStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports[p.Name] = s
}
func (w *world) event(_ *v1.Pod, _, _, reason, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, reason)
}

func (w *world) actions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.did)
}

func (w *world) config() *Config {
	return &Config{
		Wakes: NewWakes(), Observer: w, Actor: w, Records: w, Prober: w, Reporter: w, Event: w.event,
		Host: func() status.HostInfo { return status.HostInfo{} }, Starts: NewLimit(2), Stops: NewLimit(2),
	}
}

func testPod(name, uid string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(uid), CreationTimestamp: metav1.Now()},
		Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, TerminationGracePeriodSeconds: new(int64(5)), Containers: []v1.Container{{Name: "c", Image: "i"}}},
	}
}

func desired(pods ...*v1.Pod) map[types.UID]pod.Desired {
	m := map[types.UID]pod.Desired{}
	for _, p := range pods {
		m[p.UID] = pod.Desired{Pod: p, Source: pod.SourceFile}
	}
	return m
}

func always(pod.Source) bool { return true }

func fits([]*v1.Pod, *v1.Pod) *pod.Verdict { return nil }

// inBubble runs f with a set and ends the set's loops afterwards.
func inBubble(t *testing.T, f func(ctx context.Context, w *world, s *Set)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld()
		s := NewSet(w.config(), fits, nil)
		f(ctx, w, s)
		cancel()
		s.Wait()
	})
}

// pass lets time go by in the bubble, and everything that it sets off come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func count(did []string, prefix string) int {
	n := 0
	for _, a := range did {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

func TestSet_BringsAPodUpAndAwayAgain(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		synctest.Wait()
		if p := s.Pods(); len(p) != 1 || p[0].Status.Phase != v1.PodRunning || p[0].Status.PodIP != "10.0.0.1" {
			t.Fatalf("pods %+v, want one that runs", p)
		}
		s.Apply(ctx, nil, always)
		synctest.Wait()
		if len(s.Pods()) != 0 || len(w.saved) != 0 || !slices.Equal(w.ended, []string{"web"}) {
			t.Errorf("left: pods %v, records %v, ended %v", s.Pods(), w.saved, w.ended)
		}
		if o := w.pod("u1"); o.Cgroup || o.Dir || len(o.Sandboxes)+len(o.Containers) > 0 {
			t.Errorf("left on the node: %+v", o)
		}
		s.Apply(ctx, desired(), always)
		synctest.Wait()
	})
}

func TestSet_ARestartOfTheAgentRestartsNothing(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		first, stop := context.WithCancel(ctx)
		p := testPod("web", "u1")
		s.Apply(first, desired(p), always)
		synctest.Wait()
		before := w.actions()
		stop()
		s.Wait()
		second, stop := context.WithCancel(ctx)
		again := NewSet(w.config(), fits, nil)
		again.Adopt(second, maps.Clone(w.saved))
		again.Apply(second, nil, func(pod.Source) bool { return false }) // the sources have not spoken yet
		synctest.Wait()
		again.Apply(second, desired(p), always)
		synctest.Wait()
		if d := cmp.Diff(before, w.actions()); d != "" {
			t.Errorf("the second agent acted on a pod that runs:\n%s", d)
		}
		stop()
		again.Wait()
	})
}

func TestLoop_SuccessWithoutEffectIsAFailureThatBacksOff(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		w.inert[plan.CgroupCreate] = true
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		pass(time.Minute)
		if n := count(w.actions(), string(plan.CgroupCreate)); n < 2 || n > 10 {
			t.Errorf("an action without effect ran %d times in a minute, want a few", n)
		}
	})
}

func TestLoop_AFullDiskStartsNothingAndLetsPodsGo(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		s.Apply(ctx, desired(testPod("old", "u1")), always)
		synctest.Wait()
		w.full = true
		s.Apply(ctx, desired(testPod("old", "u1"), testPod("new", "u2")), always)
		pass(10 * time.Second)
		if !slices.Contains(w.events, "FailedRecord") {
			t.Errorf("events %v tell nothing of the full disk", w.events)
		}
		if w.pod("u2").Cgroup {
			t.Error("a pod was started that cannot be remembered")
		}
		s.Apply(ctx, nil, always)
		pass(time.Minute)
		if o := w.pod("u1"); o.Cgroup || o.Dir {
			t.Errorf("a removed pod stays on the node with its space: %+v", o)
		}
	})
}

func TestSet_ARetryWaitsOutNoBackoff(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		w.fails[plan.ContainerStart] = errors.New("there is no such ConfigMap")
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		pass(10 * time.Minute)
		w.mu.Lock()
		delete(w.fails, plan.ContainerStart)
		w.mu.Unlock()
		s.Poke("u1")
		synctest.Wait()
		if len(w.pod("u1").Containers) != 0 {
			t.Error("a poke alone ended the backoff")
		}
		s.Retry("u1")
		synctest.Wait()
		if len(w.pod("u1").Containers) != 1 {
			t.Error("the container was not started when what it lacked had come")
		}
	})
}

func TestSet_TellsOnceOfAPodThatTheRuntimeIsUnclearAbout(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		unclear := func(text string) error { return &pod.Error{Class: pod.Unclear, Err: errors.New(text)} }
		for _, err := range []error{unclear("a"), errors.New("the runtime is away"), unclear("a"), unclear("a"), unclear("b"), nil, unclear("b")} {
			w.mu.Lock()
			w.blind = err
			w.mu.Unlock()
			s.Apply(ctx, desired(testPod("web", "u1")), always)
			s.Changed("u1", time.Time{})
			pass(10 * time.Second)
		}
		if n := count(w.events, "FailedSync"); n != 4 {
			t.Errorf("%d events, want 4: a, again after another failure, b, again after a look: %q", n, w.events)
		}
	})
}

// looked is how often the runtime was looked at since it was asked last.
func (w *world) looked() int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.looks
	w.looks = 0
	return n
}

func TestSet_LooksOnlyForWhatItDoesNotKnow(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		pass(time.Second)
		w.looked()
		s.Changed("u1", time.Now().Add(-time.Minute))
		if n := w.looked(); n != 0 {
			t.Errorf("%d looks for a change of before the last look", n)
		}
		s.Changed("u1", time.Now())
		if n := w.looked(); n != 1 {
			t.Errorf("%d looks for a change of after the last look, want 1", n)
		}
		pass(time.Second)
		s.Changed("u1", time.Time{})
		if n := w.looked(); n != 1 {
			t.Errorf("%d looks for a change of an unknown time, want 1", n)
		}
	})
}

func TestSet_LooksAtTheOutcomeOfAStartNotAtItsSteps(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		w.slow = plan.SandboxCreate
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		w.looked()
		s.Changed("u1", time.Now())
		if n := w.looked(); n != 0 {
			t.Errorf("%d looks while the sandbox is being made", n)
		}
		pass(time.Minute)
		if n := w.looked(); n == 0 || len(w.pod("u1").Containers) != 1 {
			t.Errorf("%d looks after it was made, %d containers", n, len(w.pod("u1").Containers))
		}
	})
}

func TestSet_APodReplacedByNameWaitsForTheOldOne(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		synctest.Wait()
		w.fails[plan.ContainerStop] = errors.New("it hangs on")
		s.Apply(ctx, desired(testPod("web", "u2")), always)
		pass(time.Minute)
		if w.pod("u2").Cgroup {
			t.Fatal("two pods of one name at once")
		}
		w.mu.Lock()
		delete(w.fails, plan.ContainerStop)
		w.mu.Unlock()
		pass(time.Minute)
		if s.Has("u1") || !s.Has("u2") || len(w.pod("u2").Containers) != 1 {
			t.Errorf("the new pod did not take the old one's place: %v", w.actions())
		}
	})
}

func TestSet_ADeletedPodIsReportedFinishedAndNotStartedAgain(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		p := testPod("web", "u1")
		s.Apply(ctx, desired(p), always)
		synctest.Wait()
		gone := p.DeepCopy()
		gone.DeletionTimestamp, gone.DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(5))
		s.Apply(ctx, desired(gone), always)
		synctest.Wait()
		s.Apply(ctx, desired(gone), always)
		synctest.Wait()
		if !slices.Equal(w.ended, []string{"web"}) || s.Has("u1") {
			t.Errorf("ended %v, still here %v", w.ended, s.Has("u1"))
		}
		if ph := w.reports["web"].Phase; ph != v1.PodSucceeded && ph != v1.PodFailed {
			t.Errorf("the last phase reported is %s, want a terminal one", ph)
		}
	})
}

func TestSet_ARefusedPodFailsAndStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld()
		s := NewSet(w.config(), func(running []*v1.Pod, p *v1.Pod) *pod.Verdict {
			if len(running) > 0 {
				return &pod.Verdict{Phase: v1.PodFailed, Reason: "OutOfpods", Message: "full", At: time.Now()}
			}
			return nil
		}, nil)
		s.Apply(ctx, desired(testPod("a", "u1"), testPod("b", "u2")), always)
		synctest.Wait()
		if r := w.reports["b"]; r.Phase != v1.PodFailed || r.Reason != "OutOfpods" || r.Message != "Pod was rejected: full" {
			t.Errorf("the refused pod is %s %s %q", r.Phase, r.Reason, r.Message)
		}
		if w.reports["a"].Phase != v1.PodRunning || w.pod("u2").Cgroup {
			t.Errorf("reports %+v", w.reports)
		}
		cancel()
		s.Wait()
	})
}

func TestSet_ARefusedPodTakesNoRoomFromThoseAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld()
		s := NewSet(w.config(), func(running []*v1.Pod, p *v1.Pod) *pod.Verdict {
			if strings.HasPrefix(p.Name, "large") || len(running) > 1 {
				return &pod.Verdict{Phase: v1.PodFailed, Reason: "OutOfcpu", At: time.Now()}
			}
			return nil
		}, nil)
		s.Apply(ctx, desired(testPod("large", "u1"), testPod("larger", "u2"), testPod("a", "u3"), testPod("b", "u4")), always)
		synctest.Wait()
		if a, b := w.reports["a"].Phase, w.reports["b"].Phase; a != v1.PodRunning || b != v1.PodRunning {
			t.Errorf("the pods that fit are %s and %s", a, b)
		}
		cancel()
		s.Wait()
	})
}

func TestSet_BuriesWhatNobodyNames(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		w.pods["lost"] = &pod.Observed{
			Sandboxes:  []pod.Sandbox{{ID: "box", Ready: true}},
			Containers: []pod.Container{{ID: "c", Name: "c", SandboxID: "box", State: pod.ContainerRunning}},
		}
		s.Bury(ctx, []Orphan{{UID: "lost", Namespace: "default", Name: "lost"}})
		pass(time.Minute)
		if o := w.pod("lost"); len(o.Sandboxes)+len(o.Containers) > 0 || s.Has("lost") {
			t.Errorf("left of the orphan: %+v, did %v", o, w.actions())
		}
	})
}
