package probes

import (
	"context"
	"sync"
	"time"
)

const (
	mostLate   = 10 * time.Second       // that a check begins, and no more than three periods
	placeLease = 500 * time.Millisecond // one that hangs does not hold up the others
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

// wait returns when a check may begin: when none other is under way, when the crowd is gone, and at the latest after three
// periods. What it returns is called when the check has ended.
func (p *pace) wait(ctx context.Context, period time.Duration) (ended func()) {
	calm := p.crowd()
	if calm == nil {
		return func() {}
	}
	t := time.NewTimer(min(3*period, mostLate))
	defer t.Stop()
	select {
	case p.place <- struct{}{}:
		leave := sync.OnceFunc(func() { <-p.place })
		time.AfterFunc(placeLease, leave)
		return leave
	case <-calm:
	case <-t.C:
	case <-ctx.Done():
	}
	return func() {}
}
