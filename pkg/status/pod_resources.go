package status

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// resources reports what the pod as a whole was given (KEP-5419): before it runs what its specification comes to, then what
// its cgroup holds where that limits something.
func (b *build) resources() {
	p := b.in.Desired.Pod
	requests, limits := resources.Requests(p), resources.Limits(p)
	b.s.AllocatedResources = orNil(requests)
	given := &v1.ResourceRequirements{}
	if p.Spec.Resources != nil {
		given = p.Spec.Resources.DeepCopy()
	}
	b.s.Resources = given
	if b.prior.Phase != v1.PodRunning {
		given.Requests, given.Limits = orNil(requests.DeepCopy()), orNil(limits)
		return
	}
	set := func(list *v1.ResourceList, name v1.ResourceName, q resource.Quantity) {
		if *list == nil {
			*list = v1.ResourceList{}
		}
		(*list)[name] = q
	}
	cgroup := resources.PodCgroup(p, b.in.CFS, resources.Capacity{})
	if milli := resources.MilliCPU(cgroup.CPUShares); milli > minShares || given.Requests.Cpu().MilliValue() > minShares {
		set(&given.Requests, v1.ResourceCPU, *resource.NewMilliQuantity(milli, resource.DecimalSI))
	}
	if memory, ok := requests[v1.ResourceMemory]; ok && given.Requests.Memory().IsZero() {
		set(&given.Requests, v1.ResourceMemory, memory)
	}
	if cgroup.CPUQuota > 0 {
		set(&given.Limits, v1.ResourceCPU, *resource.NewMilliQuantity(cgroup.CPUQuota*1000/cgroup.CPUPeriod, resource.DecimalSI))
	}
	if cgroup.Memory > 0 {
		set(&given.Limits, v1.ResourceMemory, *resource.NewQuantity(cgroup.Memory, resource.BinarySI))
	}
}

// orNil makes an empty list equal to itself after a round trip.
func orNil(l v1.ResourceList) v1.ResourceList {
	if len(l) == 0 {
		return nil
	}
	return l
}

// minShares is the least weight that the kernel has: it stands for no request at all.
const minShares = 2
