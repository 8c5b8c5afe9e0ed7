package node

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Answers that take slowFrom make a server slow, and calm answers in half of that, one after the other, end it.
const (
	slowFrom = 2 * time.Second
	calm     = 2
)

// pace is what is told of how quickly the API server answers.
type pace struct {
	worst time.Duration // that was news; 0: it is not slow
	shown time.Duration // about what answers take now
	quick int           // answers in a row since then that were not slow
}

// next is the pace after one more answer, and whether that is news: it is slow, twice as slow as ever since, or no longer.
func (p pace) next(took time.Duration) (after pace, news bool) {
	switch {
	case took >= slowFrom && took >= 2*p.worst:
		return pace{worst: took, shown: took}, true
	case p.worst == 0:
		return p, false
	case took >= slowFrom/2:
		if p.quick = 0; took*3 < p.shown*2 || took*2 > p.shown*3 { // the first one had to connect
			p.shown = took
		}
		return p, false
	}
	if p.quick++; p.quick < calm {
		return p, false
	}
	return pace{}, true
}

// slowness tells that the API server answers late, by the renewals of the node's lease: the same small request every ten
// seconds. It is safe for concurrent use.
type slowness struct {
	log     *slog.Logger
	changed func() // or nil

	mu    sync.Mutex
	pace  pace
	since time.Time
}

// answered files how long an answer took.
func (s *slowness) answered(took time.Duration) {
	s.mu.Lock()
	was := s.pace
	after, news := was.next(took)
	s.pace = after
	if was.worst == 0 && after.worst > 0 {
		s.since = time.Now()
	}
	since := s.since
	s.mu.Unlock()
	switch {
	case !news:
		return
	case after.worst == 0:
		s.log.Info("the API server is quick again", "after", time.Since(since).Round(time.Second))
	default:
		s.log.Warn(after.String())
	}
	if s.changed != nil {
		s.changed()
	}
}

func (p pace) String() string {
	return fmt.Sprintf("the API server is slow: it takes %s to answer; pods run on, and news of them and for them comes late", p.shown.Round(100*time.Millisecond))
}

// now is how slow the API server is, as it was told, and since when; it is empty when it is not.
func (s *slowness) now() (what string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pace.worst == 0 {
		return "", time.Time{}
	}
	return s.pace.String(), s.since
}
