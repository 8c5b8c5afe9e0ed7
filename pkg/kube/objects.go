package kube

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// firstAnswer is how long a reader waits for a watch that was just begun before it asks by itself, at least.
const firstAnswer = 2 * time.Second

// ObjectClient is what Objects needs of a client.
type ObjectClient interface {
	Lister
	Get(ctx context.Context, k Key, into runtime.Object) error
	Create(ctx context.Context, k Key, obj, into runtime.Object) error
	Patience(least time.Duration) time.Duration
}

// Objects holds the ConfigMaps and Secrets that this node's pods name, each by a watch of that single object, which is all
// that the Node authorizer permits, for as long as a pod names it. Immutable ones are read once. What is held is served
// without a request, during an outage too. Objects of other kinds are read when asked for. It is safe for concurrent use.
type Objects struct {
	client ObjectClient
	poke   func(types.UID)
	log    *slog.Logger
	keep   *Keep
	wake   chan struct{}

	mu   sync.Mutex
	held map[Key]*object
	pods map[types.UID][]Key
}

// object is one ConfigMap or Secret that a pod names.
type object struct {
	all   *Objects
	key   Key
	users map[types.UID]bool
	first chan struct{} // closed at the first answer, good or bad
	stop  context.CancelFunc

	answered, known, fixed bool // first is closed; value is what the server has; value is immutable
	value                  runtime.Object
}

// NewObjects returns a holder that watches once Run runs. poke is called with each pod that names an object when that
// object has changed; it must not block. What keep holds is served when the server cannot be asked; nil keeps nothing.
func NewObjects(client ObjectClient, poke func(types.UID), keep *Keep, log *slog.Logger) *Objects {
	if log == nil {
		log = slog.Default()
	}
	return &Objects{
		client: client, poke: poke, keep: keep, log: log, wake: make(chan struct{}, 1),
		held: map[Key]*object{}, pods: map[types.UID][]Key{},
	}
}

// Reference makes the objects that a pod names held, and lets go those that it named before and no longer names. Static
// pods name nothing at the API server.
func (o *Objects) Reference(p *v1.Pod) {
	if pod.IsStatic(p) {
		return
	}
	o.set(p.UID, Named(p))
}

// Unreference lets go the objects of a pod that has ended.
func (o *Objects) Unreference(uid types.UID) {
	o.set(uid, nil)
	o.keep.dropTokens(uid)
}

// Prune removes from disk what none of the pods that were referenced needs. It is called once all of them were.
func (o *Objects) Prune() {
	o.mu.Lock()
	pods := maps.Clone(o.pods)
	o.mu.Unlock()
	o.keep.prune(pods, o.named)
}

// named reports whether a pod names an object. It is called with the lock of keep held, never the other way round.
func (o *Objects) named(k Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held[k] != nil
}

func (o *Objects) set(uid types.UID, keys []Key) {
	o.mu.Lock()
	old := o.pods[uid]
	if keys == nil {
		delete(o.pods, uid)
	} else {
		o.pods[uid] = keys
	}
	for _, k := range keys {
		h := o.held[k]
		if h == nil {
			h = &object{all: o, key: k, users: map[types.UID]bool{}, first: make(chan struct{})}
			o.held[k] = h
		}
		h.users[uid] = true
	}
	var gone []Key
	named := make(map[Key]bool, len(keys))
	for _, k := range keys {
		named[k] = true
	}
	for _, k := range old {
		if h := o.held[k]; h != nil && !named[k] {
			if delete(h.users, uid); len(h.users) == 0 {
				delete(o.held, k)
				gone = append(gone, k)
				if h.stop != nil {
					h.stop()
				}
			}
		}
	}
	o.mu.Unlock()
	for _, k := range gone {
		o.keep.drop(k, o.named)
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run watches what is named until the context ends.
func (o *Objects) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		o.mu.Lock()
		for _, h := range o.held {
			if h.stop != nil {
				continue
			}
			var one context.Context
			one, h.stop = context.WithCancel(ctx)
			f := Follow{
				Client: o.client, Key: Key{Resource: h.key.Resource, Namespace: h.key.Namespace},
				Selector: "metadata.name=" + h.key.Name, NewList: newList(h.key.Resource), To: h,
			}
			wg.Go(func() { f.Run(one) })
		}
		o.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-o.wake:
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.held {
		if h.stop != nil {
			h.stop()
		}
	}
}

func newList(r Resource) func() runtime.Object {
	if r == Secrets {
		return func() runtime.Object { return &v1.SecretList{} }
	}
	return func() runtime.Object { return &v1.ConfigMapList{} }
}

// find returns what is held of an object; ok is false when nothing is and the server must be asked.
func (o *Objects) find(ctx context.Context, k Key) (value runtime.Object, ok bool, err error) {
	o.mu.Lock()
	h := o.held[k]
	o.mu.Unlock()
	if h == nil {
		return nil, false, nil
	}
	t := time.NewTimer(o.client.Patience(firstAnswer))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-t.C:
	case <-h.first:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.known && h.value == nil {
		return nil, true, apierrors.NewNotFound(schema.GroupResource{Resource: k.Resource.plural()}, k.Name)
	}
	return h.value, h.known, nil
}

func (h *object) Connected() {}

func (h *object) Replace(objects []runtime.Object) {
	if len(objects) == 0 {
		h.take(nil)
		return
	}
	h.take(objects[0])
}

func (h *object) Apply(kind watch.EventType, obj runtime.Object) {
	if kind == watch.Deleted {
		obj = nil
	}
	h.take(obj)
}

func (h *object) Failed(err error) {
	h.all.log.Debug("cannot watch an object that a pod names", "object", h.key.String(), "error", err)
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.answer()
}

// answer is called with the lock held.
func (h *object) answer() {
	if !h.answered {
		h.answered = true
		close(h.first)
	}
}

// take keeps a version of the object, or its absence, and wakes the pods that name it. What has changed while the agent was
// down is news too: its pods still have the version from before.
func (h *object) take(obj runtime.Object) {
	trim(obj)
	h.all.mu.Lock()
	missed := !h.known
	h.all.mu.Unlock()
	missed = missed && h.all.keep.other(h.key, obj)
	if obj == nil {
		h.all.keep.drop(h.key, func(Key) bool { return false })
	} else {
		h.all.keep.put(h.key, obj, h.all.named) // its last pod may have gone meanwhile
	}
	h.all.mu.Lock()
	news := h.known && version(h.value) != version(obj) || !h.known && (h.answered || missed)
	h.value, h.known = obj, true
	h.answer()
	if h.fixed = immutable(obj); h.fixed && h.stop != nil {
		h.stop()
	}
	users := make([]types.UID, 0, len(h.users))
	for uid := range h.users {
		users = append(users, uid)
	}
	h.all.mu.Unlock()
	if news {
		for _, uid := range users {
			h.all.poke(uid)
		}
	}
}

func trim(obj runtime.Object) {
	if m, ok := obj.(interface{ SetManagedFields([]managed) }); ok && obj != nil {
		m.SetManagedFields(nil)
	}
}

func version(obj runtime.Object) string {
	if m, ok := obj.(interface {
		GetUID() types.UID
		GetResourceVersion() string
	}); ok {
		return string(m.GetUID()) + m.GetResourceVersion()
	}
	return ""
}

func immutable(obj runtime.Object) bool {
	switch v := obj.(type) {
	case *v1.ConfigMap:
		return v.Immutable != nil && *v.Immutable
	case *v1.Secret:
		return v.Immutable != nil && *v.Immutable
	}
	return false
}
