package loop

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	beatEvery = 5 * time.Second
	beatLost  = 60 * time.Second
)

// Pulse shows that there is progress. The zero value has not begun.
type Pulse struct {
	last atomic.Pointer[time.Time] // by a clock that nobody sets
}

// Run beats as long as the set of pods can be reached, which a deadlock would stop, until ctx ends.
func (p *Pulse) Run(ctx context.Context, set *Set) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		set.Has("none")
		p.Beat()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Beat tells that there is progress.
func (p *Pulse) Beat() { p.last.Store(new(time.Now())) }

// Health fails when the pulse is lost.
func (p *Pulse) Health() error {
	last := p.last.Load()
	if last == nil {
		return errors.New("the agent has not begun yet")
	}
	if since := time.Since(*last); since > beatLost {
		return fmt.Errorf("the agent has shown no progress for %s", since.Round(time.Second))
	}
	return nil
}
