package probes

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestWorker_AnAnswerThatBreaksOffIsAskedForAgainAndCountsForNothing(t *testing.T) {
	answers, events, counted := 0, []string{}, []string{}
	w := &worker{
		kind: liveness,
		check: checkFunc(func(context.Context) (outcome, string) {
			if answers++; answers == 5 {
				return passed, "fine"
			}
			return unread, "unexpected EOF"
		}),
		observed: func(reason, message string) { events = append(events, reason+": "+message) },
		counted:  func(result string, _ time.Duration) { counted = append(counted, result) },
	}
	first, _ := w.once(t.Context())
	second, _ := w.once(t.Context())
	if first != "" || second != pod.Success || answers != 5 {
		t.Errorf("results %q and %q after %d answers, want none after three and a success after five", first, second, answers)
	}
	if diff := cmp.Diff([]string{"Unhealthy: Liveness probe errored and resulted in failure state: unexpected EOF"}, events); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"unknown", "successful"}, counted); diff != "" {
		t.Error(diff)
	}
}
