package testbed

import (
	"time"
)

const (
	pollInterval = 20 * time.Millisecond
	longCall     = 10 * time.Second
)

// Eventually calls f every 20 ms until it returns nil, and fails the test with its last error when timeout is over.
func Eventually(t T, timeout time.Duration, what string, f func() error) {
	t.Helper()
	began := time.Now()
	if err := poll(timeout, f); err != nil {
		t.Fatalf("%s: not within %s: %v", what, time.Since(began).Round(time.Millisecond), err)
	}
}

func poll(timeout time.Duration, f func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// Consistently calls f every 20 ms for the whole of d and fails the test at its first error: for what must not happen.
func Consistently(t T, d time.Duration, what string, f func() error) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < d {
		if err := f(); err != nil {
			t.Fatalf("%s: no longer after %s: %v", what, time.Since(began).Round(time.Millisecond), err)
		}
		time.Sleep(pollInterval)
	}
}

// must fails the test when the harness's own step does: must(t, "open a file")(os.Open(path)).
func must[V any](t T, what string) func(V, error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatalf("cannot %s: %v", what, err)
		}
		return v
	}
}
