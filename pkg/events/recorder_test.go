package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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

	"github.com/minikubelet/minikubelet/pkg/events"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// server writes down the events that it is given.
type server struct {
	mu   sync.Mutex
	away bool
	log  []string
}

func (s *server) Create(_ context.Context, k kube.Key, obj, _ runtime.Object) error {
	e := obj.(*v1.Event)
	return s.took("create %s: %s", e.Reason, e.Message)
}

func (s *server) Patch(_ context.Context, _ kube.Key, patch []byte, _ runtime.Object) error {
	count, _, _ := strings.Cut(strings.TrimPrefix(string(patch), `{"count":`), ",")
	return s.took("count %s", count)
}

func (s *server) took(format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("connection refused")
	}
	line := fmt.Sprintf(format, args...)
	if strings.Contains(line, "forbidden") {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("the namespace is being deleted"))
	}
	s.log = append(s.log, line)
	return nil
}

func (s *server) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

func node() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}} }

func record(t *testing.T, cfg events.Config) *events.Recorder {
	t.Helper()
	cfg.Node, cfg.Log = node, slog.New(slog.DiscardHandler)
	if cfg.Queue == nil {
		cfg.Queue = kube.NewQueue(nil)
	}
	r := events.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { cfg.Queue.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

var web = &v1.Pod{
	ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "ns", UID: "u"},
	Spec: v1.PodSpec{
		InitContainers:      []v1.Container{{Name: "init"}},
		Containers:          []v1.Container{{Name: "main"}},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}}},
	},
}

func TestRecorder_CountsRepetitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		r := record(t, events.Config{API: s})
		r.Event(web, "main", v1.EventTypeNormal, "Started", "Container started")
		synctest.Wait()
		for range 3 {
			r.Event(web, "main", v1.EventTypeWarning, "BackOff", "Back-off restarting")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		got := r.List("ns", "web")
		if len(got) != 2 || got[1].Count != 3 || got[1].LastTimestamp.Sub(got[1].FirstTimestamp.Time) != 2*time.Second {
			t.Errorf("stored: %v", got)
		}
		if d := cmp.Diff([]string{"create Started: Container started", "create BackOff: Back-off restarting", "count 2", "count 3"}, s.log); d != "" {
			t.Errorf("upstream (-want +got):\n%s", d)
		}
		e := got[0]
		want := v1.EventSource{Component: "kubelet", Host: "n1"}
		if e.Source != want || e.InvolvedObject.FieldPath != "spec.containers{main}" || e.Type != v1.EventTypeNormal {
			t.Errorf("event: %+v", e)
		}
	})
}

func TestRecorder_KeepsTheNewestWhenThereAreTooMany(t *testing.T) {
	r := record(t, events.Config{MaxKept: 3})
	for i := range 10 {
		r.Event(web, "", v1.EventTypeNormal, "R", fmt.Sprint(i))
		r.Event(web, "", v1.EventTypeNormal, "Often", "kept, because it goes on")
	}
	var got []string
	for _, e := range r.List("", "") {
		got = append(got, e.Message)
	}
	if d := cmp.Diff([]string{"8", "9", "kept, because it goes on"}, got); d != "" {
		t.Errorf("stored (-want +got):\n%s", d)
	}
}

func TestRecorder_RefersToContainersMirrorPodsAndTheNode(t *testing.T) {
	r := record(t, events.Config{})
	for _, c := range []string{"init", "main", "debug"} {
		r.Event(web, c, v1.EventTypeNormal, "Created", "Container created")
	}
	static := web.DeepCopy()
	static.Annotations = map[string]string{pod.AnnotationSource: "file", pod.AnnotationHash: "h"}
	r.Event(static, "", v1.EventTypeNormal, "R", "static")
	r.NodeEvent(v1.EventTypeNormal, "Starting", "Starting the agent")
	var got []string
	for _, e := range r.List("", "") {
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.UID, e.InvolvedObject.FieldPath))
	}
	want := []string{
		"ns Pod u spec.initContainers{init}", "ns Pod u spec.containers{main}", "ns Pod u spec.ephemeralContainers{debug}",
		"ns Pod h ", "default Node n1 ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

func TestRecorder_CombinesSimilarEventsAndStopsAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		r := record(t, events.Config{API: s})
		for i := range 100 {
			r.Event(web, "", v1.EventTypeWarning, "FailedMount", fmt.Sprintf("try %d", i))
		}
		synctest.Wait()
		if len(s.log) != 25 || s.log[9] != "create FailedMount: try 9" ||
			s.log[10] != "create FailedMount: (combined from similar events): try 10" || s.log[24] != "count 15" {
			t.Errorf("%d writes:\n%s", len(s.log), strings.Join(s.log, "\n"))
		}
		if n := len(r.List("", "")); n != 100 {
			t.Errorf("%d stored at the node, want 100", n)
		}
	})
}

func TestRecorder_WritesAfterAnOutageAndSkipsWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{away: true}
		r := record(t, events.Config{API: s})
		r.Event(web, "", v1.EventTypeNormal, "A", "a")
		r.Event(web, "", v1.EventTypeNormal, "B", "forbidden")
		r.Event(web, "", v1.EventTypeNormal, "C", "c")
		time.Sleep(5 * time.Minute)
		s.mu.Lock()
		s.away = false
		s.mu.Unlock()
		time.Sleep(16 * time.Second) // the longest wait between two tries
		synctest.Wait()
		if d := cmp.Diff([]string{"create A: a", "create C: c"}, s.log); d != "" {
			t.Errorf("upstream (-want +got):\n%s", d)
		}
	})
}

func TestRecorder_WatchersSeeEventsAndHoldBackNobody(t *testing.T) {
	r := record(t, events.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	c := r.Watch(ctx)
	for i := range 500 { // more than a watcher that does not read can hold
		r.Event(web, "", v1.EventTypeNormal, "R", fmt.Sprint(i))
	}
	if e := <-c; e.Message != "0" {
		t.Errorf("first: %q", e.Message)
	}
	cancel()
	n := 0
	for range c {
		n++
	}
	if n >= 500 {
		t.Errorf("%d events waited for the watcher", n)
	}
}

func TestRecorder_CutsLongMessagesAtARune(t *testing.T) {
	r := record(t, events.Config{})
	r.Event(web, "", v1.EventTypeNormal, "R", strings.Repeat("ä", 200<<10))
	m := r.List("", "")[0].Message
	if len(m) > 256<<10 || len(m) < 256<<10-8 || !strings.HasSuffix(m, "ä ...") || bytes.ContainsRune([]byte(m), '\uFFFD') {
		t.Errorf("%d bytes, ends %q", len(m), m[len(m)-10:])
	}
	long := strings.Repeat("x", 11<<10)
	r.Event(web, "", v1.EventTypeNormal, "R", long)
	if m := r.List("", "")[1].Message; m != long {
		t.Errorf("of %d bytes %d are left", len(long), len(m))
	}
}

// Long messages must not use up the memory of the node.
func TestRecorder_BoundsWhatLongMessagesTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{away: true}
		r := record(t, events.Config{API: s})
		for i := range 100 {
			p := web.DeepCopy()
			p.UID = types.UID(fmt.Sprint(i))
			r.Event(p, "", v1.EventTypeWarning, "R", fmt.Sprint(i)+strings.Repeat("x", 200<<10))
		}
		got := r.List("", "")
		size := 0
		for _, e := range got {
			size += len(e.Message)
		}
		if size > 4<<20 || size < 3<<20 || !strings.HasPrefix(got[len(got)-1].Message, "99x") {
			t.Errorf("%d events of %d bytes are kept", len(got), size)
		}
		r.Event(web, "", v1.EventTypeNormal, "R", "short")
		s.mu.Lock()
		s.away = false
		s.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(s.all()); n < 15 || n > 25 || !slices.Contains(s.all(), "create R: short") {
			t.Errorf("%d events waited for the API server, want those of 4 MiB that came first, and a short one", n)
		}
	})
}

// Where many pods wait to be started, their statuses go first; an event waits for that, but neither for ever nor if it is a
// warning, and never so long that others would be lost.
func TestRecorder_HoldsEventsBackWhileManyPodsComeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		var crowd atomic.Pointer[chan struct{}]
		come := func() { crowd.Store(new(make(chan struct{}))) }
		come()
		r := record(t, events.Config{API: s, Queue: kube.NewQueue(func() <-chan struct{} {
			if c := crowd.Load(); c != nil {
				return *c
			}
			return nil
		})})
		said := func() int {
			synctest.Wait()
			return len(s.all())
		}
		r.Event(web, "main", v1.EventTypeNormal, "Started", "Container started")
		time.Sleep(20 * time.Second)
		if n := said(); n != 0 {
			t.Errorf("%d events were written while many pods came up", n)
		}
		r.Event(web, "main", v1.EventTypeWarning, "Unhealthy", "Liveness probe failed")
		if n := said(); n != 1 || !strings.Contains(s.all()[0], "Unhealthy") {
			t.Errorf("%d events were written after a warning, want that one: %v", n, s.all())
		}
		time.Sleep(11 * time.Second)
		if n := said(); n != 2 {
			t.Errorf("%d events were written after 31 s, want both", n)
		}
		r.Event(web, "main", v1.EventTypeNormal, "Killing", "Stopping container main")
		time.Sleep(time.Second)
		close(*crowd.Swap(nil))
		time.Sleep(time.Second)
		if n := said(); n != 3 {
			t.Errorf("%d events were written when they were up, want all three", n)
		}
		come()
		for i := range 700 {
			p := web.DeepCopy()
			p.Name, p.UID = fmt.Sprint("web-", i), types.UID(fmt.Sprint(i))
			r.Event(p, "main", v1.EventTypeNormal, "Started", "Container started")
		}
		time.Sleep(20 * time.Second)
		if n := said(); n < 3+100 || n > 3+300 {
			t.Errorf("%d events were written while 700 waited, want those that leave half the room", n)
		}
	})
}
