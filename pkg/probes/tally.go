package probes

import "github.com/minikubelet/minikubelet/pkg/pod"

// tally counts equal results in a row. The zero value has seen nothing.
type tally struct {
	last pod.Result
	run  int32
}

// add counts one more result and returns the verdict that it completes: the result itself once it was seen as often in
// a row as its threshold asks, and "" before that. Every further equal result completes it again.
func (t *tally) add(r pod.Result, successThreshold, failureThreshold int32) pod.Result {
	if r != t.last {
		t.last, t.run = r, 0
	}
	t.run++
	threshold := successThreshold
	if r == pod.Failed {
		threshold = failureThreshold
	}
	if t.run < threshold {
		return ""
	}
	return r
}
