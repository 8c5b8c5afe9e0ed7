package writer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
)

// server writes down the requests; fail, if set, judges them first and may take its time.
type server struct {
	mu   sync.Mutex
	log  []string
	made int
	fail func(verb, name string) error
}

func (s *server) call(verb, name, what string) error {
	if s.fail != nil {
		if err := s.fail(verb, name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%s %s %s", verb, name, what))
	return nil
}

func (s *server) Patch(_ context.Context, k kube.Key, patch []byte, into runtime.Object) error {
	return s.call("patch", k.Name, string(patch))
}

func (s *server) Create(_ context.Context, k kube.Key, obj, into runtime.Object) error {
	p := obj.(*v1.Pod).DeepCopy()
	s.made++
	p.UID, p.Generation = types.UID(fmt.Sprint("mirror", s.made)), 1
	p.DeepCopyInto(into.(*v1.Pod))
	return s.call("create", p.Name, p.Annotations[pod.AnnotationMirror])
}

func (s *server) Delete(_ context.Context, k kube.Key, o metav1.DeleteOptions) error {
	return s.call("delete", k.Name, fmt.Sprintf("%s after %ds", *o.Preconditions.UID, *o.GracePeriodSeconds))
}

func (s *server) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

func start(t *testing.T, s *server) *writer.Writer {
	t.Helper()
	return startWith(t, writer.Config{API: s})
}

func startWith(t *testing.T, cfg writer.Config) *writer.Writer {
	t.Helper()
	cfg.Node = func() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-uid"}} }
	if cfg.Queue == nil {
		cfg.Queue = kube.NewQueue(nil)
	}
	w := writer.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { cfg.Queue.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

func apiPod(name string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name + "-uid"), ResourceVersion: "1"}}
}

const gather = time.Second // the writer's

func phase(p v1.PodPhase) v1.PodStatus { return v1.PodStatus{Phase: p} }

func deleted(p *v1.Pod) *v1.Pod {
	p.DeletionTimestamp = new(metav1.Now())
	return p
}

func expect(t *testing.T, s *server, want ...string) {
	t.Helper()
	synctest.Wait()
	if d := cmp.Diff(want, s.said()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestWriter_SendsTheLatestOnlyAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		s := &server{}
		s.fail = func(string, string) error {
			if first {
				first = false
				time.Sleep(time.Second) // a slow request
			}
			return nil
		}
		w := start(t, s)
		w.Report(apiPod("a"), phase(v1.PodPending))
		time.Sleep(gather)
		synctest.Wait()
		w.Report(apiPod("a"), v1.PodStatus{Phase: v1.PodRunning, Message: "overtaken"})
		w.Report(apiPod("a"), phase(v1.PodRunning))
		synctest.Wait()
		time.Sleep(3 * time.Second)
		expect(t, s,
			`patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Pending"}}`,
			`patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`)
	})
}

func TestWriter_APodThatComesUpAtOnceIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		w := start(t, s)
		w.Report(apiPod("a"), phase(v1.PodPending))
		time.Sleep(gather / 2)
		w.Report(apiPod("a"), v1.PodStatus{Phase: v1.PodPending, PodIP: "10.0.0.1"})
		time.Sleep(gather / 4)
		expect(t, s)
		w.Report(apiPod("a"), phase(v1.PodRunning))
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`)
		w.Report(apiPod("b"), phase(v1.PodPending))
		w.Report(apiPod("b"), v1.PodStatus{Phase: v1.PodPending, PodIP: "10.0.0.2"})
		time.Sleep(gather)
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`,
			`patch b {"metadata":{"uid":"b-uid"},"status":{"phase":"Pending","podIP":"10.0.0.2"}}`)
	})
}

func TestWriter_GathersLongerWhereManyPodsComeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		w := startWith(t, writer.Config{API: s, Queue: kube.NewQueue(func() <-chan struct{} { return make(chan struct{}) })})
		w.Report(apiPod("a"), phase(v1.PodPending))
		w.Report(apiPod("b"), phase(v1.PodPending))
		time.Sleep(9 * gather)
		expect(t, s)
		w.Report(apiPod("a"), phase(v1.PodRunning))
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`)
		time.Sleep(2 * gather)
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`, `patch b {"metadata":{"uid":"b-uid"},"status":{"phase":"Pending"}}`)
	})
}

func TestWriter_OneSlowPodHoldsBackNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{fail: func(_, name string) error {
			if name == "slow" {
				time.Sleep(time.Hour)
			}
			return nil
		}}
		w := start(t, s)
		w.Report(apiPod("slow"), phase(v1.PodRunning))
		w.Report(apiPod("b"), phase(v1.PodRunning))
		expect(t, s, `patch b {"metadata":{"uid":"b-uid"},"status":{"phase":"Running"}}`)
		time.Sleep(2 * time.Hour)
	})
}

func TestWriter_PutsAFailedSendBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		var tries atomic.Int32
		away.Store(true)
		s := &server{fail: func(string, string) error {
			if tries.Add(1); away.Load() {
				return errors.New("connection refused")
			}
			return nil
		}}
		w := start(t, s)
		w.Report(apiPod("a"), phase(v1.PodRunning))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := tries.Load(); n < 40 || n > 130 {
			t.Errorf("%d tries in 10 minutes of outage", n)
		}
		away.Store(false)
		time.Sleep(15 * time.Second)
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`)
	})
}

func TestWriter_DeletesAFinishedPodAfterItsTerminalStatus(t *testing.T) {
	for name, c := range map[string]struct {
		report *v1.PodStatus
		want   []string
	}{
		"as reported": {report: new(phase(v1.PodSucceeded)), want: []string{
			`patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Succeeded"}}`, "delete a a-uid after 0s"}},
		"not terminal": {report: new(phase(v1.PodRunning)), want: []string{
			`patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`,
			`patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Failed"}}`, "delete a a-uid after 0s"}},
		"never reported": {want: []string{
			`patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Failed"}}`, "delete a a-uid after 0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{}
				w := start(t, s)
				p := deleted(apiPod("a"))
				if c.report != nil {
					w.Report(p, *c.report)
					synctest.Wait()
				}
				w.Finished(p)
				expect(t, s, c.want...)
			})
		})
	}
}

func TestWriter_NeverDeletesAPodThatIsNotBeingDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		w := start(t, s)
		w.Report(apiPod("a"), phase(v1.PodFailed))
		w.Finished(apiPod("a"))
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Failed"}}`)
	})
}

func TestWriter_LeavesAPodThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, gone := range []error{
			apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "a"),
			apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "a", field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), "a-uid", "field is immutable")}),
		} {
			tries := 0
			s := &server{fail: func(string, string) error { tries++; return gone }}
			w := start(t, s)
			w.Report(apiPod("a"), phase(v1.PodRunning))
			synctest.Wait()
			w.Report(apiPod("a"), phase(v1.PodFailed))
			w.Finished(deleted(apiPod("a")))
			expect(t, s)
			if tries != 1 {
				t.Errorf("%d requests after %v, want 1", tries, gone)
			}
		}
	})
}

func TestWriter_TriesARefusedStatusAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		refuse.Store(true)
		s := &server{fail: func(string, string) error {
			if refuse.Load() {
				return apierrors.NewBadRequest("no such field")
			}
			return nil
		}}
		w := start(t, s)
		w.Report(apiPod("a"), phase("Nonsense"))
		synctest.Wait()
		refuse.Store(false)
		time.Sleep(5 * time.Second)
		expect(t, s)
		w.Report(apiPod("a"), phase(v1.PodRunning))
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`)
	})
}

// A cluster that comes up refuses mirror pods until it has made its priority classes.
func TestWriter_SoonTriesAgainWhatWasForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		var tries atomic.Int32
		refuse.Store(true)
		s := &server{fail: func(string, string) error {
			tries.Add(1)
			if refuse.Load() {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("no PriorityClass"))
			}
			return nil
		}}
		w := start(t, s)
		w.Report(apiPod("a"), phase(v1.PodRunning))
		time.Sleep(2 * time.Second)
		refuse.Store(false)
		time.Sleep(5 * time.Second)
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"phase":"Running"}}`)
		if n := tries.Load(); n > 6 {
			t.Errorf("%d requests in 7 seconds", n)
		}
	})
}

// An API server that comes back refuses a node until it knows its pods again. When it takes one status, all go at once.
func TestWriter_IsQuickWhenTheAPIServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer atomic.Pointer[error]
		say := func(err error) { answer.Store(&err) }
		say(errors.New("connection refused"))
		s := &server{fail: func(string, string) error { return *answer.Load() }}
		w := start(t, s)
		for i := range 20 {
			w.Report(apiPod(fmt.Sprint("p", i)), phase(v1.PodRunning))
		}
		time.Sleep(10 * time.Minute)
		say(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("no relationship found")))
		time.Sleep(16 * time.Second) // each was refused for the first time
		say(nil)
		time.Sleep(8 * time.Second) // of a refusal that has gone on for 16 s
		synctest.Wait()
		if n := len(s.said()); n < 10 {
			t.Errorf("%d of 20 statuses were written 8 s after the API server took them", n)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := len(s.said()); n != 20 {
			t.Errorf("%d of 20 statuses were written", n)
		}

		say(errors.New("connection refused"))
		for i := range 20 {
			w.Report(apiPod(fmt.Sprint("p", i)), phase(v1.PodSucceeded))
		}
		time.Sleep(10 * time.Minute)
		say(nil)
		first := time.Now()
		for len(s.said()) == 20 {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		if n := len(s.said()); n != 40 {
			t.Errorf("%d of 20 statuses were written with the first, %s after the API server came back", n-20, time.Since(first))
		}
	})
}

func staticPod(hash string) *v1.Pod {
	p := apiPod("web-n1")
	p.UID, p.ResourceVersion = "static-uid", ""
	p.Annotations = map[string]string{pod.AnnotationSource: "file", pod.AnnotationHash: hash}
	return p
}

func mirrorOf(id, hash string) *v1.Pod {
	m := writer.Mirror(staticPod(hash), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-uid"}})
	m.UID, m.ResourceVersion = types.UID(id), "5"
	return m
}

func TestWriter_KeepsTheMirrorOfAStaticPod(t *testing.T) {
	for name, c := range map[string]struct {
		have []*v1.Pod
		do   func(*writer.Writer)
		want []string
	}{
		"made, with the status": {want: []string{"create web-n1 h1", "patch mirror1"}},
		"kept":                  {have: []*v1.Pod{mirrorOf("m", "h1")}, want: []string{"patch m"}},
		"of another version":    {have: []*v1.Pod{mirrorOf("m", "h0")}, want: []string{"delete web-n1 m after 0s", "create web-n1 h1", "patch mirror1"}},
		"being deleted": {have: []*v1.Pod{deleted(mirrorOf("m", "h1"))},
			want: []string{"delete web-n1 m after 0s", "create web-n1 h1", "patch mirror1"}},
		"deleted": {have: []*v1.Pod{mirrorOf("m", "h1")}, do: func(w *writer.Writer) { w.Mirrors(nil) },
			want: []string{"patch m", "create web-n1 h1", "patch mirror1"}},
		"finished": {have: []*v1.Pod{mirrorOf("m", "h1")}, do: func(w *writer.Writer) { w.Finished(staticPod("h1")) },
			want: []string{"patch m", "delete web-n1 m after 0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{}
				w := start(t, s)
				w.Report(staticPod("h1"), phase(v1.PodRunning))
				expect(t, s) // nothing before the API server's pods are known
				w.Mirrors(c.have)
				synctest.Wait()
				if c.do != nil {
					c.do(w)
				}
				synctest.Wait()
				for i, line := range s.log { // the patch itself is tested elsewhere
					var id string
					if n, _ := fmt.Sscanf(line, `patch web-n1 {"metadata":{"uid":%q`, &id); n == 1 {
						s.log[i] = "patch " + id
					}
				}
				expect(t, s, c.want...)
			})
		})
	}
}

func TestWriter_MakesTheMirrorAgainOfAStaticPodThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{fail: func(verb, _ string) error {
			if verb == "delete" {
				time.Sleep(time.Second) // the pod comes back meanwhile
			}
			return nil
		}}
		w := start(t, s)
		w.Report(staticPod("h1"), phase(v1.PodRunning))
		w.Mirrors([]*v1.Pod{mirrorOf("m", "h1")})
		synctest.Wait()
		s.log = nil
		w.Finished(staticPod("h1"))
		synctest.Wait()
		w.Report(staticPod("h1"), phase(v1.PodPending))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.log) != 3 || s.log[0] != "delete web-n1 m after 0s" || s.log[1] != "create web-n1 h1" {
			t.Errorf("requests %q, want the mirror deleted, made again and written", s.log)
		}
	})
}

func TestWriter_DeletesMirrorsThatNoStaticPodHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		w := start(t, s)
		w.Mirrors([]*v1.Pod{mirrorOf("m", "h1")})
		expect(t, s)
		w.Static(nil)
		expect(t, s, "delete web-n1 m after 0s")
	})
}

func TestWriter_WritesAgainWhatOthersHaveChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		w := start(t, s)
		p := apiPod("a")
		p.Status.Phase = v1.PodRunning
		w.Report(p, phase(v1.PodRunning))
		expect(t, s)
		w.Seen(p) // nothing new
		q := apiPod("a")
		q.ResourceVersion, q.Status = "7", v1.PodStatus{Phase: v1.PodRunning, Message: "vandal"}
		w.Seen(q)
		expect(t, s, `patch a {"metadata":{"uid":"a-uid"},"status":{"message":null}}`)
	})
}

func TestWriter_APhaseThatOthersGaveAMirrorIsNotTheStaticPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		w := start(t, s)
		m := mirrorOf("m", "h1")
		m.ResourceVersion, m.Status.Phase = "1", v1.PodRunning
		w.Mirrors([]*v1.Pod{m})
		w.Report(staticPod("h1"), phase(v1.PodRunning))
		expect(t, s)
		edited := mirrorOf("m", "h1")
		edited.ResourceVersion, edited.Status.Phase = "2", v1.PodFailed
		w.Seen(edited)
		expect(t, s, `patch web-n1 {"metadata":{"uid":"m"},"status":{"phase":"Running"}}`)
	})
}

func TestWriter_DoesNothingWithoutAnAPIServer(t *testing.T) {
	w := writer.New(writer.Config{})
	w.Report(apiPod("a"), phase(v1.PodRunning))
	w.Finished(apiPod("a"))
	w.Mirrors(nil)
	w.Static([]string{"ns/b"})
	w.Seen(apiPod("a"))
	w.Poke()
}

func TestMerge_KeepsWhatOthersOwn(t *testing.T) {
	early, late := metav1.Unix(100, 0), metav1.Unix(200, 0)
	base := v1.PodStatus{
		Phase: v1.PodFailed, QOSClass: v1.PodQOSBurstable, StartTime: &early, NominatedNodeName: "n2",
		Conditions: []v1.PodCondition{
			{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: early},
			{Type: v1.PodReady, Status: v1.ConditionFalse, LastTransitionTime: early},
			{Type: v1.PodResizePending, Status: v1.ConditionTrue},
			{Type: "example.com/gate", Status: v1.ConditionTrue},
			{Type: "example.com/other", Status: v1.ConditionFalse, Message: "it was True when the status was built"},
		},
	}
	got := writer.Merge(base, v1.PodStatus{
		Phase: v1.PodRunning, StartTime: &late,
		Conditions: []v1.PodCondition{
			{Type: v1.PodReady, Status: v1.ConditionFalse, Reason: "r", LastTransitionTime: late},
			{Type: "example.com/other", Status: v1.ConditionTrue},
		},
	})
	want := v1.PodStatus{
		Phase: v1.PodFailed, QOSClass: v1.PodQOSBurstable, StartTime: &early, NominatedNodeName: "n2",
		Conditions: []v1.PodCondition{
			{Type: v1.PodReady, Status: v1.ConditionFalse, Reason: "r", LastTransitionTime: early},
			{Type: "example.com/other", Status: v1.ConditionFalse, Message: "it was True when the status was built"},
			{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: early},
			{Type: "example.com/gate", Status: v1.ConditionTrue},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
}

func TestWriter_TellsHowLongAStatusTookFromItsFirstChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		var mu sync.Mutex
		var away atomic.Bool
		away.Store(true)
		s := &server{fail: func(string, string) error {
			if away.Load() {
				return errors.New("connection refused")
			}
			return nil
		}}
		w := startWith(t, writer.Config{API: s, Synced: func(after time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, after)
		}})
		w.Report(apiPod("a"), phase(v1.PodRunning))
		time.Sleep(time.Minute)
		away.Store(false)
		time.Sleep(15 * time.Second)
		w.Report(apiPod("a"), phase(v1.PodSucceeded))
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(took) != 2 || took[0] < time.Minute || took[1] > time.Second {
			t.Errorf("got %v, want a minute and nothing", took)
		}
	})
}
