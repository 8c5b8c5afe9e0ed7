package cri

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// runtimeOf answers what a Watcher asks. A nil events channel is a runtime without events; a closed one ends the stream.
type runtimeOf struct {
	runtimeapi.RuntimeServiceClient
	mu     sync.Mutex
	states map[string]runtimeapi.ContainerState // by pod UID
	down   bool
	lists  int
	events chan *runtimeapi.ContainerEventResponse
}

func (r *runtimeOf) set(uid string, s runtimeapi.ContainerState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[uid] = s
}

func (r *runtimeOf) listed() int { r.mu.Lock(); defer r.mu.Unlock(); return r.lists }

func (r *runtimeOf) setDown(down bool) { r.mu.Lock(); defer r.mu.Unlock(); r.down = down }

func (r *runtimeOf) ListPodSandbox(context.Context, *runtimeapi.ListPodSandboxRequest, ...grpc.CallOption) (*runtimeapi.ListPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	if r.down {
		return nil, status.Error(codes.Unavailable, "down")
	}
	return &runtimeapi.ListPodSandboxResponse{}, nil
}

func (r *runtimeOf) ListContainers(context.Context, *runtimeapi.ListContainersRequest, ...grpc.CallOption) (*runtimeapi.ListContainersResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &runtimeapi.ListContainersResponse{}
	for uid, s := range r.states {
		out.Containers = append(out.Containers, &runtimeapi.Container{Id: "c-" + uid, State: s, Labels: map[string]string{LabelPodUID: uid}})
	}
	return out, nil
}

func (r *runtimeOf) GetContainerEvents(ctx context.Context, _ *runtimeapi.GetEventsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &eventsOf{ctx: ctx, events: r.events}, nil
}

type eventsOf struct {
	grpc.ClientStream
	ctx    context.Context
	events chan *runtimeapi.ContainerEventResponse
}

func (e *eventsOf) Recv() (*runtimeapi.ContainerEventResponse, error) {
	if e.events == nil {
		return nil, status.Error(codes.Unimplemented, "none")
	}
	select {
	case v, ok := <-e.events:
		if !ok {
			return nil, io.EOF
		}
		return v, nil
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
}

// watching runs f beside a watcher on r; f's take returns the pokes since it was last called, once all is quiet.
func watching(t *testing.T, r *runtimeOf, events bool, f func(take func() []string)) {
	synctest.Test(t, func(t *testing.T) {
		if events {
			r.events = make(chan *runtimeapi.ContainerEventResponse)
		}
		var mu sync.Mutex
		var pokes []string
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w := NewWatcher(&Client{runtime: r, endpoint: "unix:///test"}, slog.New(slog.DiscardHandler))
		told := 0
		w.Listed = func(time.Time, time.Duration) { told++ }
		wg.Go(func() {
			w.Watch(ctx, func(uid string, _ time.Time) { mu.Lock(); defer mu.Unlock(); pokes = append(pokes, uid) })
		})
		f(func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			p := pokes
			pokes = nil
			return p
		})
		cancel()
		wg.Wait()
		if told == 0 || told > r.listed() {
			t.Errorf("%d lists were told of, of %d", told, r.listed())
		}
	})
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pokes %s (-want +got):\n%s", what, diff)
	}
}

func TestWatcher_ListsEachSecondWithoutEvents(t *testing.T) {
	r := &runtimeOf{states: map[string]runtimeapi.ContainerState{"a": 1, "b": 1}}
	watching(t, r, false, func(take func() []string) {
		expect(t, "at the start", take(), "")
		time.Sleep(3 * time.Second)
		expect(t, "while nothing changes", take())
		r.set("b", 2)
		time.Sleep(1100 * time.Millisecond)
		expect(t, "after an exit", take(), "b")
		r.mu.Lock()
		delete(r.states, "a")
		r.mu.Unlock()
		time.Sleep(time.Second)
		expect(t, "after a removal", take(), "a")
	})
}

func TestWatcher_ListsEachMinuteWithEvents(t *testing.T) {
	r := &runtimeOf{states: map[string]runtimeapi.ContainerState{"a": 1}}
	watching(t, r, true, func(take func() []string) {
		expect(t, "at the start", take(), "")
		r.events <- &runtimeapi.ContainerEventResponse{PodSandboxStatus: &runtimeapi.PodSandboxStatus{Metadata: &runtimeapi.PodSandboxMetadata{Uid: "x"}}}
		expect(t, "after an event", take(), "x")
		time.Sleep(5 * time.Second) // once more for what fell between list and stream
		before := r.listed()
		time.Sleep(50 * time.Second)
		if take(); r.listed() != before {
			t.Errorf("listed %d times in a minute of events, want none", r.listed()-before)
		}
		r.set("a", 2)
		time.Sleep(11 * time.Second)
		expect(t, "after a missed event", take(), "a")
		r.set("a", 3)
		time.Sleep(relistNudged)
		for range 100 {
			r.events <- &runtimeapi.ContainerEventResponse{ContainerId: "c-a"}
		}
		before = r.listed()
		expect(t, "after events that name no pod", take(), "a")
		time.Sleep(relistNudged)
		if n := r.listed() - before; n > 2 {
			t.Errorf("listed %d times for events that came at once", n)
		}
	})
}

func TestWatcher_PokesAllWhenTheRuntimeIsBack(t *testing.T) {
	r := &runtimeOf{states: map[string]runtimeapi.ContainerState{"a": 1}}
	watching(t, r, true, func(take func() []string) {
		expect(t, "at the start", take(), "")
		time.Sleep(2 * time.Second)
		r.setDown(true)
		r.mu.Lock()
		close(r.events)
		r.events = nil // it comes back as a version without events
		r.mu.Unlock()
		time.Sleep(time.Minute)
		expect(t, "while it is down", take())
		before := r.listed()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := r.listed() - before; n < 11 || n > 13 {
			t.Errorf("asked %d times in a minute of silence, want every 5 s", n)
		}
		r.setDown(false)
		time.Sleep(5 * time.Second)
		expect(t, "when it is back", take(), "")
		r.set("a", 2)
		time.Sleep(2 * time.Second)
		expect(t, "after an exit", take(), "a")
	})
}
