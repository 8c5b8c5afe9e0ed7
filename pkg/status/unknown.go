package status

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// endWaiting says of a pod that has ended that its containers have: those that could have run, and of which nothing is known
// to have. Of init containers it is all up to the last that began, and the first in any case.
func (b *build) endWaiting() {
	if b.wasInitialized() {
		endAll(b.s.ContainerStatuses)
	}
	inits := b.s.InitContainerStatuses
	begun := min(1, len(inits))
	for i := range inits {
		if began(&inits[i]) {
			begun = i + 1
		}
	}
	endAll(inits[:begun])
}

// wasInitialized reports whether main containers could have begun.
func (b *build) wasInitialized() bool {
	inits := b.s.InitContainerStatuses
	if len(inits) == 0 {
		return true
	}
	for i := range b.s.ContainerStatuses {
		if began(&b.s.ContainerStatuses[i]) {
			return true
		}
	}
	last := &inits[len(inits)-1]
	if pod.IsSidecar(&b.in.Desired.Pod.Spec.InitContainers[len(inits)-1]) {
		return false // when it has started, main containers begin at once
	}
	return b.through(last.State) || b.through(last.LastTerminationState)
}

// through reports whether the last init container let main containers begin: with success, and before its pod was told to end.
func (b *build) through(s v1.ContainerState) bool {
	stop := b.d.Record.Stop
	return succeeded(s) && (stop == nil || s.Terminated.FinishedAt.Time.Before(stop.At.Truncate(time.Second)))
}

// began reports whether a container runs or has run.
func began(s *v1.ContainerStatus) bool {
	return s.State.Waiting == nil || s.LastTerminationState.Terminated != nil
}

func succeeded(s v1.ContainerState) bool { return s.Terminated != nil && s.Terminated.ExitCode == 0 }

func endAll(list []v1.ContainerStatus) {
	for i := range list {
		if list[i].State.Terminated == nil {
			list[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				ExitCode: pod.ExitLost, Reason: pod.ReasonLost, Message: "The container could not be located when the pod was terminated",
			}}
		}
	}
}
