package loop

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Active returns the pods that have something running and no order to stop, for eviction to choose from.
func (s *Set) Active() []*v1.Pod {
	var out []*v1.Pod
	for _, p := range s.Pods() {
		if p.DeletionTimestamp == nil && !pod.IsOver(p) && !s.stopping(p.UID) {
			out = append(out, p)
		}
	}
	return out
}

// Gone reports whether nothing of a pod runs any more.
func (s *Set) Gone(uid types.UID) bool {
	p := s.Pod(uid)
	return p == nil || pod.IsOver(p)
}

// Evict orders one pod to end; it does not wait for that.
func (s *Set) Evict(uid types.UID, stop pod.Stop) { s.stop(uid, stop) }
