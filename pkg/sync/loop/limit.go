package loop

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// turnLease is how long a pod may keep a turn that others wait for: one hung pod must not hold up the rest.
const turnLease = 10 * time.Second

// turn is a pod's request to be among those that are brought up, or torn down, at once.
type turn struct {
	Critical bool      // goes first
	Since    time.Time // then the oldest
	Granted  func()    // called once when a turn that was not to be had comes; must not block
}

// Limit lets a bounded number of pods through at once. The order of those that wait is: critical first, then oldest.
type Limit struct {
	size int

	mu      sync.Mutex
	holding map[types.UID]*time.Timer
	kept    map[types.UID]bool // outlived its lease: still through, no longer counted
	waiting map[types.UID]turn
	crowd   chan struct{} // closed when it is over; nil: there is none
}

// NewLimit lets size pods through at once, at least one.
func NewLimit(size int) *Limit {
	return &Limit{
		size: max(size, 1), holding: map[types.UID]*time.Timer{}, kept: map[types.UID]bool{}, waiting: map[types.UID]turn{},
	}
}

// take reports whether the pod has a turn, and queues it when it has none. It may be called on every pass.
func (l *Limit) take(uid types.UID, t turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holding[uid] != nil || l.kept[uid] {
		return true
	}
	l.waiting[uid] = t
	defer l.count()
	if len(l.holding) < l.size && l.first() == uid {
		l.grant(uid)
		return true
	}
	return false
}

// Crowd is nil unless the node has more to do than it can do at once: from the time that a pod waits for its turn until every
// turn is given back. It is closed then.
func (l *Limit) Crowd() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.crowd
}

// count finds out whether a crowd has come, or is gone.
func (l *Limit) count() {
	switch waits := len(l.waiting) > 0; {
	case waits && l.crowd == nil:
		l.crowd = make(chan struct{})
	case !waits && len(l.holding) == 0 && l.crowd != nil:
		close(l.crowd)
		l.crowd = nil
	}
}

// release gives the turn back, or the place in the queue.
func (l *Limit) release(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, uid)
	delete(l.kept, uid)
	if t := l.holding[uid]; t != nil {
		t.Stop()
		delete(l.holding, uid)
	}
	l.next()
}

func (l *Limit) grant(uid types.UID) {
	delete(l.waiting, uid)
	l.holding[uid] = time.AfterFunc(turnLease, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.holding[uid] != nil {
			delete(l.holding, uid)
			l.kept[uid] = true
			l.next()
		}
	})
}

// next grants what is free to those that wait.
func (l *Limit) next() {
	defer l.count()
	for len(l.holding) < l.size && len(l.waiting) > 0 {
		uid := l.first()
		granted := l.waiting[uid].Granted
		l.grant(uid)
		granted()
	}
}

func (l *Limit) first() types.UID {
	var best types.UID
	for uid, t := range l.waiting {
		if best == "" || before(t, l.waiting[best]) || uid < best && !before(l.waiting[best], t) {
			best = uid
		}
	}
	return best
}

func before(a, b turn) bool {
	if a.Critical != b.Critical {
		return a.Critical
	}
	return a.Since.Before(b.Since)
}
