package kube

import (
	"context"
	"sync"
	"time"
)

// Urgency orders what is to be written to the API server.
type Urgency int

// The urgencies, the most urgent first.
const (
	Change   Urgency = iota // others wait for it: a pod runs, is ready, has ended
	Trouble                 // an event of what went wrong
	Refresh                 // what was written before is there no longer
	Progress                // what went well, and what will soon have changed again
)

// parallelWrites is how many writes there are at once.
const parallelWrites = 8

// Write is one write. The next attempt at one that fails is another write.
type Write struct {
	Urgency Urgency
	At      time.Time     // not before
	Held    time.Duration // how long after At one of Progress gives way while many pods come up
	Do      func(ctx context.Context)
}

// due is when a write may be done.
func (w Write) due(crowded bool) time.Time {
	if crowded && w.Urgency == Progress {
		return w.At.Add(w.Held)
	}
	return w.At
}

// Queue does writes, several at once but one at a time of each key, the most urgent first and of those the one that was
// due first. It is safe for concurrent use.
type Queue struct {
	crowd func() <-chan struct{}
	wake  chan struct{}

	mu      sync.Mutex
	waiting map[string]Write
	doing   map[string]bool
}

// NewQueue makes a queue that works while Run runs. An API server, and the node itself, that start a hundred pods have no
// time to spare for what went well: crowd is closed when they are through, and nil when there are not many; nil is never.
func NewQueue(crowd func() <-chan struct{}) *Queue {
	if crowd == nil {
		crowd = func() <-chan struct{} { return nil }
	}
	return &Queue{crowd: crowd, wake: make(chan struct{}, 1), waiting: map[string]Write{}, doing: map[string]bool{}}
}

// Put has a write done. It takes the place of one of the same key that waits.
func (q *Queue) Put(key string, w Write) {
	q.mu.Lock()
	q.waiting[key] = w
	q.mu.Unlock()
	q.kick()
}

func (q *Queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run does writes until the context ends, and returns when none is under way any more.
func (q *Queue) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		calm := q.crowd()
		t := time.NewTimer(q.begin(ctx, &wg, calm != nil))
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-calm:
		case <-t.C:
		}
		t.Stop()
	}
}

// begin begins what may be done now, and returns how long there is nothing else.
func (q *Queue) begin(ctx context.Context, wg *sync.WaitGroup, crowded bool) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		key, wait := first(q.waiting, q.doing, crowded, time.Now())
		if wait > 0 || len(q.doing) == parallelWrites { // one that ends wakes
			return max(wait, time.Millisecond)
		}
		do := q.waiting[key].Do
		delete(q.waiting, key)
		q.doing[key] = true
		wg.Go(func() {
			do(ctx)
			q.mu.Lock()
			delete(q.doing, key)
			q.mu.Unlock()
			q.kick()
		})
	}
}

// first is the key of what is to be done next, and how long there is nothing to do.
func first(waiting map[string]Write, doing map[string]bool, crowded bool, now time.Time) (best string, wait time.Duration) {
	wait = time.Hour
	for key, w := range waiting {
		if doing[key] {
			continue
		}
		due := w.due(crowded)
		if d := due.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		b := waiting[best]
		if best == "" || w.Urgency < b.Urgency || w.Urgency == b.Urgency && due.Before(b.due(crowded)) {
			best = key
		}
	}
	if best != "" {
		wait = 0
	}
	return best, wait
}
