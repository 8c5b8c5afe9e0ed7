package status

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// resources reports what the pod as a whole was given (KEP-5419): before it runs what its specification comes to, then what
// its cgroup holds where that limits something, and else the limits of those containers that have one.
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
		if milli := cgroup.CPUQuota * 1000 / cgroup.CPUPeriod; milli > minQuota || given.Limits.Cpu().MilliValue() > minQuota {
			set(&given.Limits, v1.ResourceCPU, *resource.NewMilliQuantity(milli, resource.DecimalSI))
		}
	}
	if cgroup.Memory > 0 {
		set(&given.Limits, v1.ResourceMemory, *resource.NewQuantity(cgroup.Memory, resource.BinarySI))
	}
	for _, name := range [...]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} { // what some containers alone have does not limit the pod
		if _, limited := given.Limits[name]; limited {
			continue
		}
		if q, ok := limits[name]; ok {
			set(&given.Limits, name, q)
		}
	}
}

// orNil makes an empty list equal to itself after a round trip.
func orNil(l v1.ResourceList) v1.ResourceList {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Values of a cgroup that stand for whatever is asked for below them.
const (
	minShares = 2  // milli-CPU of the least weight that the kernel has
	minQuota  = 10 // milli-CPU of the least quota that it has, in its own period
)
