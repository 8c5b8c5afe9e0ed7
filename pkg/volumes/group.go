package volumes

import (
	"context"
	"fmt"

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

// own gives a volume to the pod's fsGroup. A file that refuses is left and told of: the others may be all that the pod needs.
func (v *Volumes) own(ctx context.Context, p *v1.Pod, volume, path string, o hostfs.Owner) error {
	count, first := 0, error(nil)
	o.Refused = func(err error) {
		if count++; first == nil {
			first = err
		}
	}
	err := hostfs.Own(ctx, path, o)
	if count > 0 {
		v.cfg.Event(p, "", v1.EventTypeWarning, "VolumePermissionChangeFailed",
			fmt.Sprintf("Cannot give everything in volume %s to fsGroup %d: %d attempts were refused; the first was %v", volume, *o.Group, count, first))
	}
	return err
}
