package probes

import (
	"context"
	"time"
)

// pace has checks that would only confirm a success begin one after the other while many pods come up.
type pace struct {
	crowd func() <-chan struct{}
	place chan struct{}
}

func newPace(crowd func() <-chan struct{}) *pace {
	if crowd == nil {
		crowd = func() <-chan struct{} { return nil }
	}
	return &pace{crowd: crowd, place: make(chan struct{}, 1)}
}

// wait returns when a check may begin: when none other is under way, when the crowd is gone, and at the latest after a
// while. What it returns is called when the check has ended.
func (p *pace) wait(ctx context.Context, most time.Duration) (ended func()) {
	ended = func() {}
	calm := p.crowd()
	if calm == nil {
		return ended
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case p.place <- struct{}{}:
		ended = func() { <-p.place }
	case <-calm:
	case <-t.C:
	case <-ctx.Done():
	}
	return ended
}
