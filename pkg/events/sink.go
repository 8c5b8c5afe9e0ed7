package events

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

const (
	queued       = 1000 // events that wait for the API server
	perObject    = 25   // writes that one object's events may make at once ...
	perObjectEvr = 5 * time.Minute
	similarMax   = 10 // different messages of one reason and object before they are combined
	firstRetry   = 200 * time.Millisecond
	lastRetry    = 10 * time.Second
	heldFor      = 30 * time.Second // after what went well, while many pods come up
)

// API is what the sink needs of an API client.
type API interface {
	Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Patch(ctx context.Context, k kube.Key, patch []byte, into runtime.Object) error
}

// sink has events written to the API server by the queue, each lane's in their order.
type sink struct {
	api    API
	queue  *kube.Queue
	limit  *rate.Limiter
	outage *kube.Outage

	mu      sync.Mutex
	lanes   map[kube.Urgency]*lane
	waiting int              // events in all lanes ...
	size    int              // ... and bytes of their messages
	written map[string]count // by namespace/name of the event, or of the combined one
	objects map[string]*subject
}

// lane is the events of one urgency that wait, the oldest first.
type lane struct {
	urgency kube.Urgency
	events  []v1.Event
	granted bool      // the first of them has a place in the limit ...
	at      time.Time // ... from then on
	retry   wait.Backoff
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
	s := &sink{
		api: cfg.API, queue: cfg.Queue, limit: rate.NewLimiter(rate.Limit(cmp.Or(cfg.QPS, 50)), cmp.Or(cfg.Burst, 100)),
		outage: kube.NewOutage(cfg.Log, "write events to the API server"),
		lanes:  map[kube.Urgency]*lane{}, written: map[string]count{}, objects: map[string]*subject{},
	}
	for _, u := range []kube.Urgency{kube.Trouble, kube.Progress} {
		s.lanes[u] = &lane{urgency: u, retry: kube.Backoff(firstRetry, lastRetry)}
	}
	return s
}

// offer has an event written if there is room.
func (s *sink) offer(e v1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == queued || s.size+len(e.Message) > maxMessages {
		return
	}
	e, ok := s.admit(e, time.Now())
	if !ok {
		return
	}
	l := s.lanes[kube.Progress]
	if e.Type == v1.EventTypeWarning {
		l = s.lanes[kube.Trouble]
	}
	l.events = append(l.events, e)
	s.waiting++
	s.size += len(e.Message)
	s.put(l)
}

// put has the first event of a lane written. What went well is not held back longer than heldFor after it happened, nor until
// others find no room.
func (s *sink) put(l *lane) {
	if len(l.events) == 0 {
		return
	}
	if !l.granted {
		l.granted, l.at = true, time.Now().Add(s.limit.Reserve().Delay())
	}
	w := kube.Write{Urgency: l.urgency, At: l.at, Held: l.events[0].LastTimestamp.Add(heldFor).Sub(l.at), Do: func(ctx context.Context) { s.write(ctx, l) }}
	if s.waiting > queued/2 {
		w.Urgency = min(w.Urgency, kube.Refresh)
	}
	s.queue.Put(fmt.Sprint("events/", l.urgency), w)
}

// write sends the first event of a lane. It goes when the API server has taken or refused it. While the API server is away
// the lanes fill, and what does not fit is lost upstream.
func (s *sink) write(ctx context.Context, l *lane) {
	s.mu.Lock()
	e := l.events[0]
	s.mu.Unlock()
	err := s.once(ctx, e)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.put(l)
	if err == nil {
		s.outage.OK()
	} else if s.outage.Failed(err); !judged(err) {
		l.at = time.Now().Add(l.retry.Step())
		return
	}
	l.events[0] = v1.Event{}
	l.events, l.granted, l.retry = l.events[1:], false, kube.Backoff(firstRetry, lastRetry)
	s.waiting--
	s.size -= len(e.Message)
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

func (s *sink) once(ctx context.Context, e v1.Event) error {
	key := e.Namespace + "/" + e.Name
	s.mu.Lock()
	was, known := s.written[key]
	s.mu.Unlock()
	if known {
		e.Count = max(e.Count, was.n+1)
		raw, err := json.Marshal(map[string]any{"count": e.Count, "lastTimestamp": e.LastTimestamp, "message": e.Message})
		if err != nil {
			return fmt.Errorf("cannot encode an event: %w", err)
		}
		err = s.api.Patch(ctx, kube.Key{Resource: kube.Events, Namespace: e.Namespace, Name: e.Name}, raw, nil)
		if err == nil {
			s.wrote(key, e)
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	fresh := e
	fresh.ResourceVersion = ""
	err := s.api.Create(ctx, kube.Key{Resource: kube.Events, Namespace: e.Namespace}, &fresh, nil)
	if err == nil || apierrors.IsAlreadyExists(err) {
		s.wrote(key, e)
		return nil
	}
	return err
}

func (s *sink) wrote(key string, e v1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written[key] = count{e.Count, e.LastTimestamp.Time}
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
