package cri

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Periods of looking for what events did not tell.
const (
	relistWithEvents    = time.Minute // the safety net
	relistWithoutEvents = time.Second // a runtime without GetContainerEvents, such as containerd 1.6
	retryMin            = 100 * time.Millisecond
	retryMax            = 5 * time.Second
)

// Watcher tells when the runtime may have changed something of a pod: by its events where it has them, and by comparing
// lists, which is the only way where it has none and the safety net where it does. What it tells is a hint: the pod must
// be looked at to know anything.
//
//	           list fails                     stream ends
//	[down] <--------------- [listing each second] <-------- [streaming, listing each minute]
//	  |  backs off           ^         |                            ^
//	  +----------------------+         +----------------------------+
//	    list succeeds: all              stream opened (not where it is unimplemented)
type Watcher struct {
	client *Client
	log    *slog.Logger

	seed maphash.Seed
	seen map[string]uint64 // by pod UID: a digest of the states of all that the runtime has of the pod
	next map[string]uint64 // spare, so that an idle node allocates no maps
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
		streams   sync.WaitGroup
		ended     = make(chan error)
		nudge     = make(chan struct{}, 1) // an event that named no pod
		timer     = time.NewTimer(0)
		up        bool
		streaming bool
		noEvents  bool
		retry     = retryMin
	)
	defer streams.Wait()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-ended:
			streaming = false
			noEvents = errors.Is(err, ErrUnimplemented)
			if !noEvents && ctx.Err() == nil {
				w.log.Debug("the runtime's event stream ended", "error", err)
				timer.Reset(0)
				continue
			}
			timer.Reset(relistWithoutEvents)
			continue
		case <-nudge:
		case <-timer.C:
		}
		if err := w.relist(ctx, up, poke); err != nil {
			if ctx.Err() != nil {
				return
			}
			if up || retry == retryMin {
				w.log.Warn("the container runtime does not answer; pods are not followed until it does", "error", err)
			}
			up, noEvents = false, false // it may come back as another version
			timer.Reset(retry)
			retry = min(2*retry, retryMax)
			continue
		}
		if !up {
			w.log.Info("following the container runtime", "endpoint", w.client.Endpoint())
			up, retry = true, retryMin
			poke("", time.Time{})
		}
		period := relistWithoutEvents // once more after a stream was opened: between list and stream there is a gap
		switch {
		case streaming:
			period = relistWithEvents
		case !noEvents:
			streaming = true
			streams.Go(func() {
				err := w.stream(ctx, poke, nudge)
				select {
				case ended <- err:
				case <-ctx.Done():
				}
			})
		}
		timer.Reset(period)
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
		if uid := eventPod(e); uid != "" {
			poke(uid, timeOf(e.CreatedAt))
			continue
		}
		select {
		case nudge <- struct{}{}:
		default:
		}
	}
}

// eventPod is the UID of the pod that an event is about, or "" where the sandbox is gone already.
func eventPod(e *runtimeapi.ContainerEventResponse) string {
	if uid := e.GetPodSandboxStatus().GetMetadata().GetUid(); uid != "" {
		return uid
	}
	for _, c := range e.ContainersStatuses {
		if uid := c.Labels[LabelPodUID]; uid != "" {
			return uid
		}
	}
	return ""
}

// relist compares what the runtime has with what it had and, if compare is set, pokes the pods that differ.
func (w *Watcher) relist(ctx context.Context, compare bool, poke func(string, time.Time)) error {
	boxes, err := w.client.ListPodSandboxes(ctx, "")
	if err != nil {
		return err
	}
	containers, err := w.client.ListContainers(ctx, "")
	if err != nil {
		return err
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
		return nil
	}
	for uid, d := range w.seen {
		if w.next[uid] != d && uid != "" {
			poke(uid, time.Time{})
		}
	}
	for uid := range w.next {
		if _, ok := w.seen[uid]; !ok && uid != "" {
			poke(uid, time.Time{})
		}
	}
	return nil
}

func (w *Watcher) digest(id string, state int32) uint64 {
	return maphash.String(w.seed, id) ^ (uint64(state)+1)*0x9e3779b97f4a7c15
}
