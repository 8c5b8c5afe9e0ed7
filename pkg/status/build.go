package status

import (
	"cmp"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// HostInfo is what a pod's status says of its node.
type HostInfo struct {
	Name    string   // of the node
	IPs     []string // primary first, at most one of each family
	Runtime string   // the scheme of container IDs; "" stands for containerd
	// RecursiveReadOnly says that the runtime can make a mount read-only with all that is mounted below it.
	RecursiveReadOnly bool
}

// build is the work on one status.
type build struct {
	in    plan.Input
	d     plan.Decision
	prior *v1.PodStatus // as last reported
	s     v1.PodStatus
	host  HostInfo
}

// Build is the status of a pod after a decision. It reads the record that the decision holds, whose status is the one
// reported last; it shares no memory with either that a caller could change.
func Build(in plan.Input, d plan.Decision, host HostInfo) v1.PodStatus {
	b := &build{in: in, d: d, prior: &in.Record.Status, host: host}
	if host.Runtime == "" {
		b.host.Runtime = "containerd"
	}
	p := in.Desired.Pod
	b.s = v1.PodStatus{
		ObservedGeneration:    p.Generation,
		NominatedNodeName:     p.Status.NominatedNodeName,
		Resize:                b.prior.Resize,
		ResourceClaimStatuses: p.Status.ResourceClaimStatuses,
		StartTime:             b.prior.StartTime,
		QOSClass:              resources.QOSClass(p),
	}
	if b.s.StartTime == nil {
		b.s.StartTime = new(stamp(in.Now))
	}
	if v := d.Record.Verdict; v != nil && v.Rejected {
		b.phase()
		b.others()
		return b.s
	}
	b.containers()
	b.phase()
	b.resources()
	b.addresses()
	b.conditions()
	return b.s
}

// stamp is a time as statuses hold it: to the second, so that a status is equal to itself after a round trip.
func stamp(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

// containers fills the three lists, in spec order.
func (b *build) containers() {
	p := b.in.Desired.Pod
	for role, c := range pod.Spec(p) {
		s := b.container(role, c)
		switch role {
		case pod.Main:
			b.s.ContainerStatuses = append(b.s.ContainerStatuses, s)
		case pod.Ephemeral:
			s.Started = nil // no probe and no hook depends on it
			b.s.EphemeralContainerStatuses = append(b.s.EphemeralContainerStatuses, s)
		default:
			b.s.InitContainerStatuses = append(b.s.InitContainerStatuses, s)
		}
	}
	if b.d.Record.Verdict != nil {
		b.endWaiting()
	}
}

// phase derives the phase. The verdict rules; without one, a phase that was terminal stays.
func (b *build) phase() {
	if v := b.d.Record.Verdict; v != nil {
		b.s.Phase, b.s.Reason, b.s.Message = v.Phase, v.Reason, v.Message
		return
	}
	switch b.prior.Phase {
	case v1.PodSucceeded, v1.PodFailed:
		b.s.Phase, b.s.Reason, b.s.Message = b.prior.Phase, b.prior.Reason, b.prior.Message
		return
	}
	b.s.Phase = v1.PodPending
	if b.initialized() && b.begun() {
		b.s.Phase = v1.PodRunning
	}
	// Why it is being stopped is told with the phase that this leads to. Until then a reason stays that came with its phase.
	if api := &b.in.Desired.Pod.Status; b.s.Phase == cmp.Or(b.prior.Phase, api.Phase) {
		b.s.Reason, b.s.Message = cmp.Or(b.prior.Reason, api.Reason), cmp.Or(b.prior.Message, api.Message)
	}
}

// begun reports whether every main container runs or has run.
func (b *build) begun() bool {
	if len(b.s.ContainerStatuses) == 0 {
		return false
	}
	for i := range b.s.ContainerStatuses {
		if !began(&b.s.ContainerStatuses[i]) {
			return false
		}
	}
	return true
}

// initialized reports whether the init containers are through: each has ended well and each sidecar has started, or
// main containers have begun, which is proof of it.
func (b *build) initialized() bool {
	p := b.in.Desired.Pod
	for i := range b.s.InitContainerStatuses {
		s := &b.s.InitContainerStatuses[i]
		if pod.IsSidecar(&p.Spec.InitContainers[i]) {
			if s.Started == nil || !*s.Started {
				return b.mainsExist()
			}
			continue
		}
		if !succeeded(s.State) {
			return false
		}
	}
	return true
}

// mainsExist reports whether a main container was begun in the sandbox that stands.
func (b *build) mainsExist() bool {
	box := b.in.Observed.Sandbox()
	for i := range b.in.Desired.Pod.Spec.Containers {
		c := b.in.Observed.Container(b.in.Desired.Pod.Spec.Containers[i].Name)
		if c != nil && box != nil && c.SandboxID == box.ID {
			return true
		}
	}
	return false
}

// addresses are those of the sandbox, or the node's on the host network. What was reported stays when nothing is seen.
func (b *build) addresses() {
	b.s.HostIP, b.s.HostIPs = b.prior.HostIP, b.prior.HostIPs
	if len(b.host.IPs) > 0 {
		b.s.HostIP, b.s.HostIPs = b.host.IPs[0], nil
		for _, ip := range b.host.IPs {
			b.s.HostIPs = append(b.s.HostIPs, v1.HostIP{IP: ip})
		}
	}
	var ips []string
	box := b.in.Observed.Sandbox()
	switch {
	case b.in.Desired.Pod.Spec.HostNetwork && (box != nil || b.prior.PodIP != ""):
		ips = b.host.IPs
	case box != nil && box.Ready:
		ips = box.IPs
	}
	b.s.PodIP, b.s.PodIPs = b.prior.PodIP, b.prior.PodIPs
	if len(ips) > 0 {
		b.s.PodIP, b.s.PodIPs = ips[0], nil
		for _, ip := range ips {
			b.s.PodIPs = append(b.s.PodIPs, v1.PodIP{IP: ip})
		}
	}
}
