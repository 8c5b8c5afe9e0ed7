package cri

import (
	"context"
	"sync/atomic"
	"time"
)

// statusPeriod is how often the runtime's readiness is asked for.
const statusPeriod = 5 * time.Second

// Monitor knows whether the runtime and its network are ready, for node conditions and health checks. It is safe for
// concurrent use; its zero state is not ready.
type Monitor struct {
	client *Client
	status atomic.Pointer[Status]
}

// NewMonitor returns a monitor that knows nothing until Check or Run.
func NewMonitor(c *Client) *Monitor {
	m := &Monitor{client: c}
	unknown := Condition{Reason: "NotChecked", Message: "the container runtime was not asked yet"}
	m.status.Store(&Status{Runtime: unknown, Network: unknown})
	return m
}

// Status is the runtime's status at the last check. While the runtime does not answer, both conditions are not ready and
// what is known of its abilities stays.
func (m *Monitor) Status() Status { return *m.status.Load() }

// Check asks the runtime once and reports whether a condition changed.
func (m *Monitor) Check(ctx context.Context) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusPeriod)
	defer cancel()
	old := m.Status()
	s, err := m.client.Status(ctx, false)
	if err != nil {
		down := Condition{Reason: "RuntimeNotAnswering", Message: err.Error()}
		s = old
		s.Runtime, s.Network = down, down
	}
	m.status.Store(&s)
	return s.Runtime != old.Runtime || s.Network != old.Network, err
}

// Run checks every 5 seconds until the context ends and calls changed when a condition changed.
func (m *Monitor) Run(ctx context.Context, changed func()) {
	t := time.NewTicker(statusPeriod)
	defer t.Stop()
	for {
		if c, _ := m.Check(ctx); c && ctx.Err() == nil {
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
