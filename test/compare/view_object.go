package compare

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// object is the Node as the API server has it. How much of a resource the machine has is written as what it is of.
func (v *viewer) object() (l Lines, err error) {
	n, err := v.admin.CoreV1().Nodes().Get(v.t.Context(), nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for _, i := range n.Status.Images {
		l.add("image "+strings.Join(i.Names, " "), i.SizeBytes)
	}
	if !slices.IsSortedFunc(n.Status.Images, func(a, b v1.ContainerImage) int { return int(b.SizeBytes - a.SizeBytes) }) {
		l.add("images", "are not sorted by size")
	}
	for name, has := range n.Status.Capacity {
		l.add("capacity "+string(name), amount(name, has))
		may := n.Status.Allocatable[name]
		left := has.DeepCopy()
		left.Sub(may)
		l.add("not allocatable "+string(name), reserve(name, has, left))
	}
	for name := range n.Status.Allocatable {
		l.add("allocatable", name)
	}
	n.Status.Images, n.Status.Capacity, n.Status.Allocatable = nil, nil, nil
	n.ManagedFields, n.ResourceVersion = nil, ""
	info := &n.Status.NodeInfo
	for _, s := range []*string{&info.OSImage, &info.KubeletVersion, &info.ContainerRuntimeVersion} {
		*s = withoutVersion(*s)
	}
	if info.Swap != nil && info.Swap.Capacity != nil {
		*info.Swap.Capacity = 1
	}
	return l, l.addJSON("node", n)
}

// amount is an amount of a resource, without what is of this machine.
func amount(name v1.ResourceName, q resource.Quantity) string {
	if q.IsZero() {
		return "0"
	}
	switch name {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage:
		return "<" + string(name) + "> " + string(q.Format)
	}
	return q.String()
}

// reserve is what of a resource is not for pods: that of disks as hundredths.
func reserve(name v1.ResourceName, of, q resource.Quantity) string {
	if name == v1.ResourceEphemeralStorage && !of.IsZero() {
		return fmt.Sprintf("%d%%", (q.Value()*1000/of.Value()+5)/10)
	}
	return q.String()
}

// withoutVersion is a text up to its first digit: containerd://.
func withoutVersion(s string) string {
	if i := strings.IndexAny(s, "0123456789"); i >= 0 {
		return s[:i] + "<version>"
	}
	return s
}

// editBootID makes the Node look like that of another boot, as it does after a reboot.
func (v *viewer) editBootID() {
	v.t.Helper()
	edit := []byte(`{"status": {"nodeInfo": {"bootID": "another"}}}`)
	if _, err := v.admin.CoreV1().Nodes().Patch(v.t.Context(), nodeName, types.MergePatchType, edit, metav1.PatchOptions{}, "status"); err != nil {
		v.t.Fatalf("cannot edit the Node: %v", err)
	}
}

// events are those of the Node, after a boot.
func (v *viewer) events() (l Lines, err error) {
	rebooted := v.until(func() bool {
		list, err := v.admin.CoreV1().Events("").List(v.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Node,reason=Rebooted"})
		return err == nil && len(list.Items) > 0
	})
	l.add("told of the boot", rebooted)
	list, err := v.admin.CoreV1().Events("").List(v.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Node"})
	if err != nil {
		return nil, err
	}
	for _, e := range list.Items {
		what := fmt.Sprintf("event %s %s by %s %s", e.Type, e.Reason, e.Source.Component, e.ReportingController)
		l.add(what, e.Message)
		l.add(what+" of", fmt.Sprintf("%s %s %s in %s", e.InvolvedObject.APIVersion, e.InvolvedObject.Name, e.InvolvedObject.UID, e.Namespace))
	}
	return l, nil
}

func (v *viewer) csiNode() (l Lines, err error) {
	n, err := v.admin.StorageV1().CSINodes().Get(v.t.Context(), nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	n.ManagedFields, n.ResourceVersion = nil, ""
	return l, l.addJSON("csinode", n)
}

// leaseRenewed is when the node renewed its lease; zero: never.
func (v *viewer) leaseRenewed() time.Time {
	lease, err := v.admin.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(v.t.Context(), nodeName, metav1.GetOptions{})
	if err != nil || lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

func (v *viewer) lease() (l Lines, err error) {
	if moved := v.until(func() bool { return v.leaseRenewed().After(v.renewed) }); !moved {
		l.add("lease", "is not renewed")
	}
	lease, err := v.admin.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(v.t.Context(), nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	lease.ManagedFields, lease.ResourceVersion = nil, ""
	return l, l.addJSON("lease", lease)
}
