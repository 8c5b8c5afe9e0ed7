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

	mu   sync.Mutex
	seen map[types.UID]time.Time // pods that did not run yet
}

// NewStarts tells what it measures to c.
func NewStarts(c *Counters) *Starts {
	return &Starts{count: c, seen: map[types.UID]time.Time{}}
}

// Report is told a pod's phase, whenever that may have changed.
func (s *Starts) Report(p *v1.Pod, phase v1.PodPhase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, waits := s.seen[p.UID]
	switch {
	case phase == v1.PodPending && !waits:
		s.seen[p.UID] = time.Now()
		s.count.Seen(p)
	case phase != v1.PodPending && waits:
		delete(s.seen, p.UID)
		if phase == v1.PodRunning {
			s.count.PodStarted(p, time.Since(since))
		}
	}
}

// Forget lets go of a pod that is gone.
func (s *Starts) Forget(p *v1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, p.UID)
	s.count.Forget(p)
}
