package cri

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Watcher tells when the runtime may have changed something of a pod: by its events where it has them, and by comparing
// lists, which is the only way where it has none and the safety net where it does. What it tells is a hint: the pod must
// be looked at to know anything.
//
//	          list fails                    stream ends
//	[down] <-------------- [listing each second] <-------- [streaming, listing each minute,
//	  |  pauses, 0.1 to 5 s     ^     |                     each second while it tells nothing of what lists show]
//	  +-------------------------+     +---------------------------^
//	    list succeeds: all              stream opened, after a pause of 1 s to 1 min
//	                                    where the last one did not last a minute
//
// What it decides is following.next. Listing each second is how a runtime without events (containerd 1.6) is followed, or
// one whose events are switched off; a stream is tried again each minute, for it may have become another version.
type Watcher struct {
	// Listed is told of each list that succeeded. Nil: nobody is.
	Listed func(began time.Time, took time.Duration)

	client *Client
	log    *slog.Logger

	seed maphash.Seed
	seen map[string]uint64 // by pod UID: a digest of the states of all that the runtime has of the pod
	next map[string]uint64 // spare, so that an idle node allocates no maps

	told   atomic.Uint64 // events of all streams
	before uint64        // told when the last list began
}

// NewWatcher returns a watcher for one call of Watch.
func NewWatcher(c *Client, log *slog.Logger) *Watcher {
	return &Watcher{client: c, log: log, seed: maphash.MakeSeed(), seen: map[string]uint64{}, next: map[string]uint64{}}
}

// Watch pokes until the context ends. A poke with an empty UID stands for all pods: at the start, and whenever the
// runtime answers again after it did not. At is when the runtime saw the change, zero where that is not known. Poke must
// not block and is called from more than one goroutine.
func (w *Watcher) Watch(ctx context.Context, poke func(uid string, at time.Time)) {
	var (
		streams sync.WaitGroup
		over    = make(chan error)
		nudge   = make(chan struct{}, 1) // an event that named no pod
		timer   = time.NewTimer(0)
		state   following
	)
	defer streams.Wait()
	defer timer.Stop()
	for {
		var o occurrence
		var err error
		select {
		case <-ctx.Done():
			return
		case err = <-over:
			o.kind = ended
		case <-nudge:
			o.kind = nudged
		case <-timer.C:
			o, err = w.list(ctx, state.up, poke)
		}
		if ctx.Err() != nil {
			return
		}
		var do orders
		state, do = state.next(o, time.Now())
		w.say(do.say, err)
		if do.pokeAll {
			poke("", time.Time{})
		}
		if do.open {
			streams.Go(func() {
				err := w.stream(ctx, poke, nudge)
				select {
				case over <- err:
				case <-ctx.Done():
				}
			})
		}
		timer.Reset(time.Until(state.listAt))
	}
}

func (w *Watcher) say(r remark, err error) {
	switch r {
	case isDown:
		w.log.Warn("the container runtime does not answer; pods are not followed until it does", "error", err)
	case isUp:
		w.log.Info("following the container runtime", "endpoint", w.client.endpoint)
	case isWithout:
		level := slog.LevelWarn
		if errors.Is(err, ErrUnimplemented) {
			level = slog.LevelInfo // an older version
		}
		w.log.Log(context.Background(), level, "the container runtime tells no events; pods are looked for each second until it does", "error", err)
	case isWith:
		w.log.Info("the container runtime tells events again")
	case streamClosed:
		w.log.Debug("the runtime's event stream ended", "error", err)
	}
}

// stream pokes for each event of the runtime until the stream ends.
func (w *Watcher) stream(ctx context.Context, poke func(string, time.Time), nudge chan<- struct{}) error {
	const what = "read the runtime's events"
	s, err := w.client.runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return w.client.wrap(what, err)
	}
	for {
		e, err := s.Recv()
		if err != nil {
			return w.client.wrap(what, err)
		}
		w.told.Add(1)
		if uid := eventPod(e); uid != "" {
			poke(uid, timeOf(e.GetCreatedAt()))
			continue
		}
		select {
		case nudge <- struct{}{}:
		default:
		}
	}
}

// list compares what the runtime has with what it had. An event counts for each list that it may have come before or after.
func (w *Watcher) list(ctx context.Context, compare bool, poke func(string, time.Time)) (occurrence, error) {
	begin, began := w.told.Load(), time.Now()
	changed, err := w.relist(ctx, compare, poke)
	if err != nil {
		return occurrence{kind: listFailed}, err
	}
	if w.Listed != nil {
		w.Listed(began, time.Since(began))
	}
	o := occurrence{kind: listed, changed: changed, told: w.told.Load() != w.before}
	w.before = begin
	return o, nil
}

// eventPod is the UID of the pod that an event is about, or "" where the sandbox is gone already.
func eventPod(e *runtimeapi.ContainerEventResponse) string {
	if uid := e.GetPodSandboxStatus().GetMetadata().GetUid(); uid != "" {
		return uid
	}
	for _, c := range e.GetContainersStatuses() {
		if uid := c.GetLabels()[LabelPodUID]; uid != "" {
			return uid
		}
	}
	return ""
}

// relist compares what the runtime has with what it had and, if compare is set, pokes the pods that differ.
func (w *Watcher) relist(ctx context.Context, compare bool, poke func(string, time.Time)) (changed bool, err error) {
	boxes, err := w.client.ListPodSandboxes(ctx, "")
	if err != nil {
		return false, err
	}
	containers, err := w.client.ListContainers(ctx, "")
	if err != nil {
		return false, err
	}
	clear(w.next)
	// Sums do not depend on the order in which the runtime lists.
	for _, b := range boxes {
		w.next[b.GetMetadata().GetUid()] += w.digest(b.Id, int32(b.State))
	}
	for _, c := range containers {
		w.next[c.Labels[LabelPodUID]] += w.digest(c.Id, int32(c.State))
	}
	w.seen, w.next = w.next, w.seen
	if !compare {
		return false, nil
	}
	for uid, d := range w.seen {
		if w.next[uid] != d && uid != "" {
			changed = true
			poke(uid, time.Time{})
		}
	}
	for uid := range w.next {
		if _, ok := w.seen[uid]; !ok && uid != "" {
			changed = true
			poke(uid, time.Time{})
		}
	}
	return changed, nil
}

func (w *Watcher) digest(id string, state int32) uint64 {
	return maphash.String(w.seed, id) ^ (uint64(state)+1)*0x9e3779b97f4a7c15
}
