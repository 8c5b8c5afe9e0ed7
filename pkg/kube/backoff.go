package kube

import (
	"context"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Backoff is how long to wait between tries at the API server that fail: first, then doubling up to last. Each wait, which
// Step gives, is up to half as long again, by chance: the agents of a cluster do not all come back at one moment.
func Backoff(first, last time.Duration) wait.Backoff {
	return wait.Backoff{Duration: first, Factor: 2, Jitter: 0.5, Steps: math.MaxInt, Cap: last}
}

// Sleep waits for a time, or until the context ends.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
