package pod_test

import (
	"math"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestSeconds_SaturatesWhereADurationWouldOverflow(t *testing.T) {
	for n, want := range map[int64]time.Duration{
		0: 0, 1: time.Second, -1: -time.Second, math.MaxInt32: math.MaxInt32 * time.Second,
		9223372036: pod.Longest, 9223372037: pod.Longest, 10000000000: pod.Longest, math.MaxInt64: pod.Longest,
		-10000000000: -pod.Longest, math.MinInt64: -pod.Longest,
	} {
		if got := pod.Seconds(n); got != want {
			t.Errorf("%d s are %v, want %v", n, got, want)
		}
	}
}

// A grace period is added to a time, and others are added to it: none of these sums may overflow either.
func TestSeconds_LeavesRoomForSums(t *testing.T) {
	if sum := pod.Longest + pod.Longest; sum < pod.Longest {
		t.Errorf("two of the longest make %v", sum)
	}
	if end := time.Now().Add(pod.Longest); end.UnixNano() < time.Now().UnixNano() {
		t.Errorf("the end, %v, has no Unix time in nanoseconds", end)
	}
}

func TestGracePeriod_IsWhatTheDeletionSaysThenTheSpecification(t *testing.T) {
	for name, tt := range map[string]struct {
		deletion, spec *int64
		want           time.Duration
	}{
		"neither":                   {want: 30 * time.Second},
		"the specification's":       {spec: new(int64(5)), want: 5 * time.Second},
		"the deletion's":            {deletion: new(int64(3)), spec: new(int64(5)), want: 3 * time.Second},
		"at once":                   {spec: new(int64(0)), want: 0},
		"longer than a duration":    {spec: new(int64(10000000000)), want: pod.Longest},
		"a deletion as long":        {deletion: new(int64(10000000000)), spec: new(int64(5)), want: pod.Longest},
		"negative, as soon as can":  {spec: new(int64(-1)), want: time.Second},
		"negative in the deletion":  {deletion: new(int64(-7)), want: time.Second},
		"the lowest that there is":  {spec: new(int64(math.MinInt64)), want: time.Second},
		"the highest that there is": {spec: new(int64(math.MaxInt64)), want: pod.Longest},
	} {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionGracePeriodSeconds: tt.deletion}, Spec: v1.PodSpec{TerminationGracePeriodSeconds: tt.spec}}
		if got := pod.GracePeriod(p); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
