package volumes

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// ownership is what a pod's fsGroup asks for (KEP-695: fsGroupChangePolicy).
func ownership(p *v1.Pod, readOnly bool) hostfs.Owner {
	sc := p.Spec.SecurityContext
	if sc == nil {
		return hostfs.Owner{}
	}
	policy := sc.FSGroupChangePolicy
	return hostfs.Owner{Group: sc.FSGroup, ReadOnly: readOnly, OnMismatch: policy != nil && *policy == v1.FSGroupChangeOnRootMismatch}
}
