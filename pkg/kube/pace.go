package kube

import (
	"sync/atomic"
	"time"
)

// pace is how long the API server takes to answer of late: the longest answer, of which each that is quicker takes away a
// quarter. It is safe for concurrent use.
type pace struct{ nanoseconds atomic.Int64 }

func (p *pace) answered(took time.Duration) {
	for {
		old := p.nanoseconds.Load()
		if p.nanoseconds.CompareAndSwap(old, int64(slower(time.Duration(old), took))) {
			return
		}
	}
}

func slower(known, took time.Duration) time.Duration { return max(took, known-(known-took)/4) }

func (p *pace) patience(least time.Duration) time.Duration {
	return max(least, 2*time.Duration(p.nanoseconds.Load()))
}
