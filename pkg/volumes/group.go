package volumes

import (
	"context"
	"fmt"
	"slices"
	"strconv"

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

// annotationGroup names a group that those who use a PersistentVolume must have.
const annotationGroup = "pv.beta.kubernetes.io/gid"

// groupOf is the group that a PersistentVolume names; nil for none, and for what is no group.
func (v *Volumes) groupOf(pv *v1.PersistentVolume) *int64 {
	text := pv.Annotations[annotationGroup]
	if text == "" {
		return nil
	}
	gid, err := strconv.ParseInt(text, 10, 32)
	if err != nil || gid < 0 {
		v.cfg.Log.Warn("a PersistentVolume names no valid group: its annotation must be a number", "volume", pv.Name, "annotation", annotationGroup, "value", text)
		return nil
	}
	return &gid
}

// Groups are the supplemental groups that a pod's volumes give it beyond those that it has.
func (v *Volumes) Groups(p *v1.Pod) []int64 {
	l, err := v.ledger(p.UID, false)
	if err != nil {
		return nil
	}
	var has, out []int64
	if sc := p.Spec.SecurityContext; sc != nil {
		has = sc.SupplementalGroups
	}
	for i := range p.Spec.Volumes {
		e := l.get(p.Spec.Volumes[i].Name)
		if e.State == ready && e.Group != nil && !slices.Contains(has, *e.Group) && !slices.Contains(out, *e.Group) {
			out = append(out, *e.Group)
		}
	}
	return out
}
