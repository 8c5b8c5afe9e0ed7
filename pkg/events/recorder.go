package events

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

const (
	component = "kubelet" // what users and monitoring filter by
	stored    = 1000      // events that the store keeps, each with its count
	forget    = 10 * time.Minute

	// maxMessage is in bytes. Events of the core API have no limit of their own, but requests do: an API server reads 3 MiB of
	// one, and etcd takes 1.5 MiB. JSON writes a byte as up to six, so that a message of this length fits whatever it says.
	maxMessage = 256 << 10
	// maxMessages bounds, in bytes, the messages of all events in the store, and of all that wait for the API server.
	maxMessages = 4 << 20
)

// Config is what a Recorder needs.
type Config struct {
	Node    func() *v1.Node // its name is the events' host
	API     API             // nil: standalone; a client without a rate limit, so that events never hold back a status
	Queue   *kube.Queue     // with API: what writes events
	QPS     float64         // eventRecordQPS, of writes to the API server; 0: 50
	Burst   int             // eventBurst; 0: 100
	Log     *slog.Logger    // nil: slog.Default()
	MaxKept int             // events in the store; 0: 1000
}

// Recorder keeps events. Its methods are safe for concurrent use and never wait.
type Recorder struct {
	cfg  Config
	sink *sink // nil: standalone

	mu       sync.Mutex
	bySame   map[same]*v1.Event
	order    []*v1.Event // oldest change first, at most MaxKept
	size     int         // bytes of their messages
	sequence int64
	watchers map[chan v1.Event]struct{}
}

// same is what makes two events one with a count.
type same struct {
	uid                                  types.UID
	field, kind, typ, reason, text, name string
}

// New returns a recorder. Events reach the API server only while the queue runs.
func New(cfg Config) *Recorder {
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	cfg.MaxKept = cmp.Or(cfg.MaxKept, stored)
	r := &Recorder{cfg: cfg, bySame: map[same]*v1.Event{}, watchers: map[chan v1.Event]struct{}{}}
	if cfg.API != nil {
		r.sink = newSink(cfg)
	}
	return r
}

// Event records an event of a pod; with a container's name, of that container. The type is v1.EventTypeNormal or
// v1.EventTypeWarning. A static pod's event refers to its mirror pod at the API server.
func (r *Recorder) Event(p *v1.Pod, container, typ, reason, message string) {
	ref := v1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID,
		ResourceVersion: p.ResourceVersion, FieldPath: fieldPath(p, container),
	}
	if h := p.Annotations[pod.AnnotationHash]; pod.IsStatic(p) && h != "" {
		ref.UID = types.UID(h)
	}
	log := r.cfg.Log.With("pod", pod.FullName(p), "uid", p.UID)
	if container != "" {
		log = log.With("container", container)
	}
	r.record(log, ref, typ, reason, message)
}

// NodeEvent records an event of the node.
func (r *Recorder) NodeEvent(typ, reason, message string) {
	name := r.cfg.Node().Name
	// By custom a node's events carry its name as UID, so that they are found before and after it was registered again.
	r.record(r.cfg.Log, v1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}, typ, reason, message)
}

func (r *Recorder) record(log *slog.Logger, ref v1.ObjectReference, typ, reason, message string) {
	level := slog.LevelInfo
	if typ == v1.EventTypeWarning {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, message, "event", reason)
	e := r.keep(ref, typ, reason, truncate(message))
	if r.sink != nil {
		r.sink.offer(e)
	}
}

// keep puts an event into the store, or counts it there, and returns a copy.
func (r *Recorder) keep(ref v1.ObjectReference, typ, reason, message string) v1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := metav1.Now()
	key := same{uid: ref.UID, field: ref.FieldPath, kind: ref.Kind, typ: typ, reason: reason, text: message, name: ref.Namespace + "/" + ref.Name}
	e := r.bySame[key]
	r.sequence++
	if e != nil && now.Sub(e.LastTimestamp.Time) < forget {
		e.Count++
		e.LastTimestamp = now
		e.ResourceVersion = fmt.Sprint(r.sequence)
		i := slices.Index(r.order, e)
		r.order = append(slices.Delete(r.order, i, i+1), e)
	} else {
		e = r.fresh(ref, typ, reason, message, now)
		r.bySame[key] = e
		r.order = append(r.order, e)
		r.size += len(message)
		r.trim()
	}
	for c := range r.watchers {
		select {
		case c <- *e:
		default: // a watcher that does not read loses events, nobody else does
		}
	}
	return *e
}

func (r *Recorder) fresh(ref v1.ObjectReference, typ, reason, message string, now metav1.Time) *v1.Event {
	host := r.cfg.Node().Name
	return &v1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprintf("%s.%x", ref.Name, now.UnixNano()+r.sequence),
			Namespace: cmp.Or(ref.Namespace, metav1.NamespaceDefault), CreationTimestamp: now,
			ResourceVersion: fmt.Sprint(r.sequence),
		},
		InvolvedObject: ref, Type: typ, Reason: reason, Message: message,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		Source: v1.EventSource{Component: component, Host: host}, ReportingController: component, ReportingInstance: host,
	}
}

// trim forgets the oldest events that are too many or whose messages are too long.
func (r *Recorder) trim() {
	over := 0
	for len(r.order)-over > r.cfg.MaxKept || r.size > maxMessages {
		r.size -= len(r.order[over].Message)
		over++
	}
	if over == 0 {
		return
	}
	gone := make(map[*v1.Event]bool, over)
	for _, e := range r.order[:over] {
		gone[e] = true
	}
	for k, e := range r.bySame {
		if gone[e] {
			delete(r.bySame, k)
		}
	}
	r.order = slices.Delete(r.order, 0, over)
}

// List returns the events of a namespace ("": all) and of an object by name ("": all), oldest change first.
func (r *Recorder) List(namespace, name string) []v1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]v1.Event, 0, len(r.order))
	for _, e := range r.order {
		if (namespace == "" || e.Namespace == namespace) && (name == "" || e.InvolvedObject.Name == name) {
			out = append(out, *e)
		}
	}
	return out
}

// Watch returns a channel of the events from now on, repeated ones with their new count. It is closed when the context
// ends. A receiver that falls 100 events behind loses some.
func (r *Recorder) Watch(ctx context.Context) <-chan v1.Event {
	c := make(chan v1.Event, 100)
	r.mu.Lock()
	r.watchers[c] = struct{}{}
	r.mu.Unlock()
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, c)
		close(c)
	})
	return c
}

func fieldPath(p *v1.Pod, container string) string {
	if container == "" {
		return ""
	}
	switch _, role := pod.SpecOf(p, container); role {
	case pod.Init, pod.Sidecar:
		return "spec.initContainers{" + container + "}"
	case pod.Ephemeral:
		return "spec.ephemeralContainers{" + container + "}"
	}
	return "spec.containers{" + container + "}"
}

// truncate cuts a message to what the API takes, at a rune's border.
func truncate(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	const more = " ..."
	cut := maxMessage - len(more)
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + more
}
