package cri

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// endings answers lists as runtimeOf does, and ends each event stream with an error after it was open for a while. No
// stream yields anything.
type endings struct {
	runtimeOf
	after time.Duration
	err   error
	opens int
}

func (r *endings) GetContainerEvents(ctx context.Context, _ *runtimeapi.GetEventsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &endingStream{ctx: ctx, after: r.after, err: r.err}
	if r.opens++; r.opens > 10000 {
		s.after = 24 * time.Hour // a loop without a pause would never let the clock go on
	}
	return s, nil
}

func (r *endings) opened() int { r.mu.Lock(); defer r.mu.Unlock(); return r.opens }

type endingStream struct {
	grpc.ClientStream
	ctx   context.Context
	after time.Duration
	err   error
}

func (s *endingStream) Recv() (*runtimeapi.ContainerEventResponse, error) {
	if s.after == 0 {
		return nil, s.err
	}
	t := time.NewTimer(s.after)
	defer t.Stop()
	select {
	case <-t.C:
		return nil, s.err
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// besides runs f beside a watcher on r. F's change changes a pod and returns how long it took until that was poked.
func besides(t *testing.T, r *endings, log io.Writer, f func(change func() time.Duration)) {
	synctest.Test(t, func(t *testing.T) {
		pokes := make(chan string, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		w := NewWatcher(&Client{runtime: r, endpoint: "unix:///test"}, slog.New(slog.NewTextHandler(log, nil)))
		var wg sync.WaitGroup
		wg.Go(func() { w.Watch(ctx, func(uid string, _ time.Time) { pokes <- uid }) })
		<-pokes
		state := runtimeapi.ContainerState_CONTAINER_RUNNING
		f(func() time.Duration {
			began := time.Now()
			state = runtimeapi.ContainerState_CONTAINER_EXITED - state + 1
			r.set("a", state)
			<-pokes
			return time.Since(began)
		})
		cancel()
		wg.Wait()
	})
}

func TestWatcher_PausesBetweenStreamsThatEnd(t *testing.T) {
	ends := map[string]error{"EOF": io.EOF}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		ends[c.String()] = status.Error(c, "container events are disabled")
	}
	for name, err := range ends {
		for _, after := range []time.Duration{0, 500 * time.Millisecond, 10 * time.Second, 90 * time.Second} {
			t.Run(fmt.Sprintf("%s after %s", name, after), func(t *testing.T) {
				r := &endings{runtimeOf: runtimeOf{states: map[string]runtimeapi.ContainerState{"a": 1}}, after: after, err: err}
				var log strings.Builder
				besides(t, r, &log, func(change func() time.Duration) {
					for range 10 {
						took := change()
						if took > relistWithoutEvents && after < 10*time.Second {
							t.Errorf("a change was noticed after %s", took)
						}
						time.Sleep(time.Minute - took)
					}
					if n := r.opened(); n < 5 || n > 20 {
						t.Errorf("opened %d streams in 10 minutes, want 5 to 20", n)
					}
					if n := r.listed(); n > 630 || after < time.Second && n < 590 {
						t.Errorf("listed %d times in 10 minutes, want about once a second", n)
					}
				})
				if n := strings.Count(log.String(), "level=WARN"); n > 1 {
					t.Errorf("warned %d times:\n%s", n, &log)
				}
			})
		}
	}
}

func TestWatcher_ListsBesideAStreamThatTellsNothing(t *testing.T) {
	r := &endings{runtimeOf: runtimeOf{states: map[string]runtimeapi.ContainerState{"a": 1}}, after: 24 * time.Hour}
	besides(t, r, io.Discard, func(change func() time.Duration) {
		if took := change(); took > relistWithoutEvents {
			t.Errorf("a change right after the stream was opened was noticed after %s", took)
		}
		before := r.listed()
		time.Sleep(time.Minute)
		for range 10 {
			if took := change(); took > relistWithoutEvents {
				t.Errorf("a change that the stream did not tell was noticed after %s, though it had told none before", took)
			}
		}
		if n := r.listed() - before; n > 75 {
			t.Errorf("listed %d times in a minute, want once a second", n)
		}
	})
	r = &endings{runtimeOf: runtimeOf{states: map[string]runtimeapi.ContainerState{"a": 1}}, after: 24 * time.Hour}
	besides(t, r, io.Discard, func(change func() time.Duration) {
		time.Sleep(10 * time.Minute)
		if n := r.listed(); n > 20 {
			t.Errorf("listed %d times in 10 minutes in which nothing happened, want about once a minute", n)
		}
		if took := change(); took > relistWithEvents {
			t.Errorf("a change was noticed after %s", took)
		}
		if n := r.opened(); n != 1 {
			t.Errorf("opened %d streams, want one", n)
		}
	})
}
