package probes

import (
	"testing"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestTally_VerdictNeedsAsManyEqualResultsInARowAsItsThreshold(t *testing.T) {
	for _, tc := range []struct {
		name             string
		success, failure int32
		results          string // + success, - failure
		want             string // . no verdict
	}{
		{"defaults", 1, 3, "+--+---", "+..+..-"},
		{"one failure is enough", 1, 1, "+-+-", "+-+-"},
		{"success needs three", 3, 1, "++-+++", "..-..+"},
		{"a success breaks the run of failures", 1, 2, "-+-+--", ".+.+.-"},
		{"a completed verdict is completed again", 2, 2, "+++---", ".++.--"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var tl tally
			got := ""
			for _, r := range tc.results {
				result := pod.Success
				if r == '-' {
					result = pod.Failed
				}
				got += map[pod.Result]string{"": ".", pod.Success: "+", pod.Failed: "-"}[tl.add(result, tc.success, tc.failure)]
			}
			if got != tc.want {
				t.Errorf("results %s gave %s, want %s", tc.results, got, tc.want)
			}
		})
	}
}
