package kube

import (
	"testing"
	"time"
)

// A server that answers late is not one that is away: what is kept for an outage would be taken for what it says.
func TestPace_GivesASlowServerTwiceTheTimeThatItTook(t *testing.T) {
	const least = 2 * time.Second
	var p pace
	if got := p.patience(least); got != least {
		t.Errorf("before the first answer %s", got)
	}
	for _, answer := range []struct {
		took, patience time.Duration
	}{
		{10 * time.Millisecond, least},
		{12 * time.Second, 24 * time.Second},
		{4 * time.Second, 20 * time.Second}, // one that is quicker may be of another kind
		{14 * time.Second, 28 * time.Second},
	} {
		p.answered(answer.took)
		if got := p.patience(least); got != answer.patience {
			t.Errorf("after an answer in %s: %s, want %s", answer.took, got, answer.patience)
		}
	}
	for range 10 {
		p.answered(0)
	}
	if got := p.patience(least); got != least {
		t.Errorf("after ten quick answers %s", got)
	}
}
