package probes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// kind is which of a container's probes one is; its text is how events name it.
type kind string

const (
	startup   kind = "Startup"
	liveness  kind = "Liveness"
	readiness kind = "Readiness"
)

const (
	attempts      = 3  // at one check that cannot be made
	defaultPeriod = 10 // seconds
	// The checks of all containers begin at multiples of it, but the first of each, which may be waited for: to wake once for
	// several costs less than to wake for each.
	grid = 100 * time.Millisecond
)

// worker runs one probe of one container.
type worker struct {
	kind     kind
	spec     *v1.Probe
	check    checker
	due      time.Time       // not before this: start of the container and its initial delay
	epoch    time.Time       // where the grid begins
	jitter   bool            // spread the first checks: the agent has just started on many containers
	gate     <-chan struct{} // closed once the container has started
	pace     *pace           // of checks that would only confirm a success; nil: they go by their period alone
	report   func(pod.Result, string)
	observed func(reason, message string)
	counted  func(result string, took time.Duration)
}

// run checks until the context ends or until nothing is left to find out. Checks start a period apart, the second up to a
// step of the grid later; one that took longer than the period is followed by the next at once.
func (w *worker) run(ctx context.Context) {
	if w.kind != startup {
		select {
		case <-w.gate:
		case <-ctx.Done():
			return
		}
	}
	period := orDefault(w.spec.PeriodSeconds, defaultPeriod)
	next := time.Now()
	if w.jitter {
		next = next.Add(rand.N(period))
	}
	if next.Before(w.due) {
		next = w.due
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()

	var t tally
	well := false
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		ended := func() {}
		if well && w.pace != nil {
			ended = w.pace.wait(ctx, period)
		}
		verdict := w.judge(ctx, &t)
		ended()
		if verdict != "" && w.kind == startup || verdict == pod.Failed && w.kind == liveness {
			return
		}
		well = verdict == pod.Success
		next = next.Add(period)
		if off := next.Sub(w.epoch) % grid; off > 0 {
			next = next.Add(grid - off)
		}
		if now := time.Now(); next.Before(now) {
			next = now
		}
		timer.Reset(time.Until(next))
	}
}

// judge makes one check, and reports and returns the verdict that it completes, or "" when it completes none.
func (w *worker) judge(ctx context.Context, t *tally) pod.Result {
	result, text := w.once(ctx)
	if result == "" {
		return ""
	}
	success, failure := max(w.spec.SuccessThreshold, 1), w.spec.FailureThreshold
	if failure <= 0 {
		failure = 3
	}
	verdict := t.add(result, success, failure)
	if verdict != "" {
		w.report(verdict, text)
	}
	return verdict
}

// once makes one check and tells what was seen as an event. It returns "" when the check could not be made or its answer not
// be read to the end, which counts neither for nor against the container.
func (w *worker) once(ctx context.Context) (pod.Result, string) {
	began := time.Now()
	found, text := w.check.Check(ctx)
	for i := 1; (found == errored || found == unread) && i < attempts && ctx.Err() == nil; i++ {
		found, text = w.check.Check(ctx)
	}
	if ctx.Err() != nil {
		return "", "" // what a container answers that is gone or going says nothing
	}
	switch found {
	case passed:
		w.counted("successful", time.Since(began))
		return pod.Success, text
	case warned:
		w.counted("successful", time.Since(began))
		w.observed("ProbeWarning", fmt.Sprintf("%s probe warning: %s", w.kind, text))
		return pod.Success, text
	case failed:
		w.counted("failed", time.Since(began))
		w.observed("Unhealthy", fmt.Sprintf("%s probe failed: %s", w.kind, text))
		return pod.Failed, text
	}
	state := "unknown"
	if found == unread {
		state = "failure" // a kubelet's word for it, though it counts as none
	}
	w.counted("unknown", time.Since(began))
	w.observed("Unhealthy", fmt.Sprintf("%s probe errored and resulted in %s state: %s", w.kind, state, text))
	return "", ""
}
