package writer

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/status"
)

// removable are the conditions that a node agent takes away again; all others stay once they are there.
var removable = []v1.PodConditionType{
	v1.PodReady, v1.ContainersReady, v1.PodInitialized, v1.PodReadyToStartContainers,
	v1.PodResizePending, v1.PodResizeInProgress,
}

// Merge is the status to write where the API server has base and the node has built: built, with what others own taken
// from base. A terminal phase is never left, and a start time and a QoS class never change.
func Merge(base, built v1.PodStatus) v1.PodStatus {
	s := built
	s.Conditions = slices.Clone(built.Conditions)
	for _, c := range base.Conditions {
		i := slices.IndexFunc(s.Conditions, func(x v1.PodCondition) bool { return x.Type == c.Type })
		switch {
		case i < 0 && !slices.Contains(removable, c.Type):
			s.Conditions = append(s.Conditions, c)
		case i >= 0 && !status.Own(c.Type): // what was built may rest on an older one
			s.Conditions[i] = c
		case i >= 0 && s.Conditions[i].Status == c.Status && !c.LastTransitionTime.IsZero():
			s.Conditions[i].LastTransitionTime = c.LastTransitionTime
		}
	}
	if terminal(base.Phase) {
		s.Phase = base.Phase
	}
	if base.StartTime != nil {
		s.StartTime = base.StartTime
	}
	if base.QOSClass != "" {
		s.QOSClass = base.QOSClass
	}
	s.NominatedNodeName = base.NominatedNodeName
	s.ResourceClaimStatuses = base.ResourceClaimStatuses
	s.ExtendedResourceClaimStatus = base.ExtendedResourceClaimStatus
	return s
}
