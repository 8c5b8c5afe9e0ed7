package activity

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// span is a time in which something went on.
type span struct{ from, to time.Time }

// covered is how long at least one of the spans lasts.
func covered(spans []span) (sum time.Duration) {
	spans = slices.SortedFunc(slices.Values(spans), func(a, b span) int { return a.from.Compare(b.from) })
	var end time.Time
	for _, s := range spans {
		if s.from.Before(end) {
			s.from = end
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			end = s.to
		}
	}
	return sum
}

// sli is what a start took without what is the pod's own: its pulls and its init containers.
func sli(took time.Duration, pulls []span, status v1.PodStatus) time.Duration {
	took -= covered(pulls)
	for _, c := range status.InitContainerStatuses {
		if t := c.State.Terminated; t != nil && t.FinishedAt.After(t.StartedAt.Time) {
			took -= t.FinishedAt.Sub(t.StartedAt.Time)
		}
	}
	return max(took, 0)
}

// stateful reports whether a pod has volumes that others have to make ready: the service level of starts is not for it.
func stateful(p *v1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v v1.Volume) bool {
		return v.Secret == nil && v.ConfigMap == nil && v.DownwardAPI == nil && v.EmptyDir == nil && v.Projected == nil
	})
}

// sizes of images as monitoring has them, each from above its first bytes on.
var sizes = []struct {
	above int64
	label string
}{
	{100 << 30, "GT100GB"}, {60 << 30, "60GB-100GB"}, {40 << 30, "40GB-60GB"}, {30 << 30, "30GB-40GB"}, {20 << 30, "20GB-30GB"}, {10 << 30, "10GB-20GB"},
	{5 << 30, "5GB-10GB"}, {1 << 30, "1GB-5GB"}, {500 << 20, "500MB-1GB"}, {100 << 20, "100MB-500MB"}, {10 << 20, "10MB-100MB"}, {0, "0-10MB"},
}

func sizeOf(bytes int64) string {
	for _, s := range sizes {
		if bytes > s.above {
			return s.label
		}
	}
	return "N/A"
}

// rejections are the reasons that monitoring tells apart.
var rejections = []string{
	"AppArmor", "PodOSSelectorNodeLabelDoesNotMatch", "PodOSNotSupported", "InvalidNodeInfo", "InitContainerRestartPolicyForbidden",
	"SupplementalGroupsPolicyNotSupported", "UnexpectedAdmissionError", "UnknownReason", "UnexpectedPredicateFailureType", "OutOfcpu", "OutOfmemory",
	"OutOfephemeral-storage", "OutOfpods", "PodLevelResourcesNotSupported", "PodFeatureUnsupported", "Evicted", "SysctlForbidden", "TopologyAffinityError",
	"NodeShutdown", "VolumeAttachmentLimitExceeded",
}

func rejection(reason string) string {
	switch {
	case slices.Contains(rejections, reason):
		return reason
	case len(reason) > len("OutOf") && reason[:len("OutOf")] == "OutOf":
		return "OutOfExtendedResources"
	}
	return "Other"
}
