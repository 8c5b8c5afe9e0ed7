package events

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

const (
	queued       = 1000 // events that wait for the API server
	perObject    = 25   // writes that one object's events may make at once ...
	perObjectEvr = 5 * time.Minute
	similarMax   = 10 // different messages of one reason and object before they are combined
	firstRetry   = 200 * time.Millisecond
	lastRetry    = 10 * time.Second
	heldFor      = 30 * time.Second // while the node has more urgent things to tell
	heldLook     = 100 * time.Millisecond
)

// API is what the sink needs of an API client.
type API interface {
	Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Patch(ctx context.Context, k kube.Key, patch []byte, into runtime.Object) error
}

// sink writes events to the API server: one goroutine, in order.
type sink struct {
	api    API
	wake   chan struct{}
	limit  *rate.Limiter
	outage *kube.Outage
	busy   func() bool

	mu      sync.Mutex
	waiting []v1.Event // the oldest first
	size    int        // bytes of their messages

	written map[string]count // by namespace/name of the event, or of the combined one
	objects map[string]*subject
}

// count is how often the API server was told of an event, and of when.
type count struct {
	n    int32
	last time.Time
}

// subject limits one object's events.
type subject struct {
	limit   *rate.Limiter
	reasons map[string]map[string]bool // by reason: hashes of messages seen
	last    time.Time
}

func newSink(cfg Config) *sink {
	if cfg.QPS == 0 {
		cfg.QPS = 50
	}
	if cfg.Burst == 0 {
		cfg.Burst = 100
	}
	return &sink{
		api: cfg.API, busy: cfg.Busy, limit: rate.NewLimiter(rate.Limit(cfg.QPS), cfg.Burst),
		wake:    make(chan struct{}, 1),
		outage:  kube.NewOutage(cfg.Log, "write events to the API server"),
		written: map[string]count{}, objects: map[string]*subject{},
	}
}

// offer hands an event over if there is room.
func (s *sink) offer(e v1.Event) {
	s.mu.Lock()
	if len(s.waiting) < queued && s.size+len(e.Message) <= maxMessages {
		s.waiting = append(s.waiting, e)
		s.size += len(e.Message)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sink) run(ctx context.Context) {
	for {
		e, ok := s.take(ctx)
		if !ok {
			return
		}
		if e, ok := s.admit(e, time.Now()); ok && s.limit.Wait(ctx) == nil {
			s.write(ctx, e)
		}
	}
}

// take waits for the event that is to be written next, or the end of the context.
func (s *sink) take(ctx context.Context) (v1.Event, bool) {
	for ctx.Err() == nil {
		s.mu.Lock()
		i := next(s.waiting, s.busy != nil && s.busy(), time.Now())
		if i >= 0 {
			e := s.waiting[i]
			copy(s.waiting[1:i+1], s.waiting[:i])
			s.waiting[0] = v1.Event{}
			s.waiting = s.waiting[1:]
			s.size -= len(e.Message)
			s.mu.Unlock()
			return e, true
		}
		var look <-chan time.Time
		if len(s.waiting) > 0 {
			look = time.After(heldLook)
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-look:
		}
	}
	return v1.Event{}, false
}

// next returns which of the events that wait, the oldest first, is to be written now, or -1. While the node is busy what is
// more urgent goes first: an API server, and the node itself, that start a hundred pods have no time to spare for what went
// well. Such an event is not held longer than heldFor after it happened, nor until others find no room.
func next(waiting []v1.Event, busy bool, now time.Time) int {
	if !busy || len(waiting) > queued/2 {
		return min(len(waiting), 1) - 1
	}
	return slices.IndexFunc(waiting, func(e v1.Event) bool {
		return e.Type == v1.EventTypeWarning || now.Sub(e.LastTimestamp.Time) >= heldFor
	})
}

// admit combines events that differ in the message only once they get many, and stops objects that make too many.
func (s *sink) admit(e v1.Event, now time.Time) (v1.Event, bool) {
	key := string(e.InvolvedObject.UID) + e.InvolvedObject.FieldPath
	o := s.objects[key]
	if o == nil {
		o = &subject{limit: rate.NewLimiter(rate.Every(perObjectEvr), perObject), reasons: map[string]map[string]bool{}}
		s.objects[key] = o
		s.expire(now)
	}
	if now.Sub(o.last) > forget {
		clear(o.reasons)
	}
	o.last = now
	seen := o.reasons[e.Reason]
	if seen == nil {
		seen = map[string]bool{}
		o.reasons[e.Reason] = seen
	}
	if message := shortHash(e.Message); len(seen) < similarMax {
		seen[message] = true
	} else if !seen[message] {
		e.Name = fmt.Sprintf("%s.%s.combined", e.InvolvedObject.Name, shortHash(key+e.Reason))
		e.Message = truncate("(combined from similar events): " + e.Message)
	}
	return e, o.limit.AllowN(now, 1)
}

// expire forgets what was not heard of for long.
func (s *sink) expire(now time.Time) {
	for k, o := range s.objects {
		if now.Sub(o.last) > time.Hour && !o.last.IsZero() {
			delete(s.objects, k)
		}
	}
	for k, e := range s.written {
		if now.Sub(e.last) > forget {
			delete(s.written, k)
		}
	}
}

// write sends one event and stays with it until the API server took or refused it, or the context ended. While the API
// server is away the queue fills, and what does not fit is lost upstream.
func (s *sink) write(ctx context.Context, e v1.Event) {
	for retry := kube.Backoff(firstRetry, lastRetry); ctx.Err() == nil; {
		err := s.once(ctx, e)
		if err == nil {
			s.outage.OK()
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.outage.Failed(err)
		if judged(err) {
			return
		}
		kube.Sleep(ctx, retry.Step())
	}
}

func (s *sink) once(ctx context.Context, e v1.Event) error {
	key := e.Namespace + "/" + e.Name
	was, known := s.written[key]
	if known {
		e.Count = max(e.Count, was.n+1)
		raw, err := json.Marshal(map[string]any{"count": e.Count, "lastTimestamp": e.LastTimestamp, "message": e.Message})
		if err != nil {
			return fmt.Errorf("cannot encode an event: %w", err)
		}
		err = s.api.Patch(ctx, kube.Key{Resource: kube.Events, Namespace: e.Namespace, Name: e.Name}, raw, nil)
		if err == nil {
			s.written[key] = count{e.Count, e.LastTimestamp.Time}
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	fresh := e
	fresh.ResourceVersion = ""
	err := s.api.Create(ctx, kube.Key{Resource: kube.Events, Namespace: e.Namespace}, &fresh, nil)
	if err == nil || apierrors.IsAlreadyExists(err) {
		s.written[key] = count{e.Count, e.LastTimestamp.Time}
		return nil
	}
	return err
}

// judged reports whether the API server has refused the event itself, such as one of a namespace that is being deleted.
func judged(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
}

func shortHash(s string) string {
	h := fnv.New64a()
	h.Write([]byte(s))
	return strconv.FormatUint(h.Sum64(), 16)
}
