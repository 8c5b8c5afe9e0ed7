package activity

import (
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Starts measures how long pods take from when they are first seen until they run.
type Starts struct {
	count *Counters

	mu    sync.Mutex
	seen  map[types.UID]time.Time // pods that did not run yet
	pulls map[types.UID][]span    // of theirs
}

// NewStarts tells what it measures to c.
func NewStarts(c *Counters) *Starts {
	return &Starts{count: c, seen: map[types.UID]time.Time{}, pulls: map[types.UID][]span{}}
}

// pulled is told when an image of a pod was had.
func (s *Starts) pulled(p *v1.Pod, from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waits := s.seen[p.UID]; !waits {
		return
	}
	pulls := append(s.pulls[p.UID], span{from, to})
	s.pulls[p.UID] = pulls[max(0, len(pulls)-mostPulls):]
}

// mostPulls is how many pulls of a pod that does not start are kept: one whose image is not there has a new one every few minutes.
const mostPulls = 64

// Report is told a pod's status, whenever that may have changed.
func (s *Starts) Report(p *v1.Pod, status v1.PodStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	phase := status.Phase
	since, waits := s.seen[p.UID]
	switch {
	case phase == v1.PodPending && !waits:
		s.seen[p.UID] = time.Now()
		s.count.seen(p)
	case phase != v1.PodPending && waits:
		if phase == v1.PodRunning {
			s.count.podStarted(p, time.Since(since), s.pulls[p.UID], status)
		}
		delete(s.seen, p.UID)
		delete(s.pulls, p.UID)
	}
}

// Forget lets go of a pod that is gone.
func (s *Starts) Forget(p *v1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, p.UID)
	delete(s.pulls, p.UID)
	s.count.forget(p)
}
