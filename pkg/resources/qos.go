package resources

import (
	"cmp"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Requests are what a pod asks of the node: its containers as KEP-753 sums them, the pod level of KEP-2837 where it is
// set, and the overhead of its RuntimeClass.
func Requests(p *v1.Pod) v1.ResourceList {
	return resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{})
}

// Limits are a pod's limits, summed as Requests are.
func Limits(p *v1.Pod) v1.ResourceList {
	return resourcehelper.PodLimits(p, resourcehelper.PodResourcesOptions{})
}

// QOSClass is a pod's quality of service: Guaranteed when every container limits CPU and memory to what it requests,
// BestEffort when none asks for either, Burstable otherwise. An empty request stands for its limit, so that pods from
// files need not have been defaulted.
func QOSClass(p *v1.Pod) v1.PodQOSClass {
	if p.Status.QOSClass != "" {
		return p.Status.QOSClass
	}
	if resourcehelper.IsPodLevelResourcesSet(p) {
		return qosClass([]v1.ResourceRequirements{*p.Spec.Resources})
	}
	var all []v1.ResourceRequirements
	for i := range p.Spec.InitContainers {
		all = append(all, p.Spec.InitContainers[i].Resources)
	}
	for i := range p.Spec.Containers {
		all = append(all, p.Spec.Containers[i].Resources)
	}
	return qosClass(all)
}

func qosClass(all []v1.ResourceRequirements) v1.PodQOSClass {
	asked, guaranteed := false, len(all) > 0
	for _, r := range all {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			request, limit := r.Requests[name], r.Limits[name]
			if _, given := r.Requests[name]; !given {
				request = limit
			}
			asked = asked || !request.IsZero() || !limit.IsZero()
			guaranteed = guaranteed && !limit.IsZero() && request.Cmp(limit) == 0
		}
	}
	switch {
	case !asked:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

// CgroupValues are what is written to a pod's cgroup, in the units of cgroup v1. Zero leaves a value unset.
type CgroupValues struct {
	CPUShares int64 // 2 to 262144
	CPUQuota  int64 // microseconds per CPUPeriod
	CPUPeriod int64 // microseconds
	Memory    int64 // bytes
	PIDs      int64
}

// DefaultCPUPeriod is the kernel's own CFS period.
const DefaultCPUPeriod = 100 * time.Millisecond

// PodCgroup derives a pod's cgroup values. A limit holds for the pod only when each of its containers has it, as the
// others may use what they like. quota tells whether CPU limits are enforced; a period of zero is DefaultCPUPeriod.
func PodCgroup(p *v1.Pod, quota bool, period time.Duration) CgroupValues {
	cpuLimited, memoryLimited := true, true
	limits := resourcehelper.PodLimits(p, resourcehelper.PodResourcesOptions{
		ContainerFn: func(r v1.ResourceList, _ resourcehelper.ContainerType) {
			cpuLimited = cpuLimited && !r.Cpu().IsZero()
			memoryLimited = memoryLimited && !r.Memory().IsZero()
		},
	})
	if resourcehelper.IsPodLevelLimitsSet(p) {
		cpuLimited = cpuLimited || !p.Spec.Resources.Limits.Cpu().IsZero()
		memoryLimited = memoryLimited || !p.Spec.Resources.Limits.Memory().IsZero()
	}
	requests := Requests(p)
	values := CgroupValues{CPUShares: CPUShares(requests.Cpu().MilliValue())}
	if cpuLimited && quota {
		if period == 0 {
			period = DefaultCPUPeriod
		}
		values.CPUPeriod = period.Microseconds()
		values.CPUQuota = CPUQuota(limits.Cpu().MilliValue(), values.CPUPeriod)
	}
	if memoryLimited {
		values.Memory = limits.Memory().Value()
	}
	return values
}

// CFS says how CPU limits are enforced.
type CFS struct {
	Quota  bool          // they are (cpuCFSQuota)
	Period time.Duration // zero is DefaultCPUPeriod
}

// ContainerCgroup derives a container's cgroup values from what it asks for.
func ContainerCgroup(r v1.ResourceRequirements, cfs CFS) CgroupValues {
	request, asked := r.Requests[v1.ResourceCPU]
	if !asked {
		request = r.Limits[v1.ResourceCPU]
	}
	v := CgroupValues{CPUShares: CPUShares(request.MilliValue()), Memory: r.Limits.Memory().Value()}
	if cfs.Quota {
		v.CPUPeriod = cmp.Or(cfs.Period, DefaultCPUPeriod).Microseconds()
		v.CPUQuota = CPUQuota(r.Limits.Cpu().MilliValue(), v.CPUPeriod)
	}
	return v
}

// CPUShares is the cgroup v1 weight of a CPU request in milli-CPU: 1024 for one CPU, between the kernel's 2 and 262144.
func CPUShares(milli int64) int64 {
	return min(max(milli*1024/1000, 2), 262144)
}

// CPUQuota is the CFS quota in microseconds of a CPU limit in milli-CPU, at least the kernel's 1000; zero for no limit.
func CPUQuota(milli, period int64) int64 {
	if milli <= 0 {
		return 0
	}
	return max(milli*period/1000, 1000)
}

// NodeCgroup derives the values of the cgroup of all pods from what the node has and what is reserved (node allocatable).
// Eviction thresholds are not taken off: they are crossed before the kernel kills. Reserves that leave pods nothing are an
// error.
func NodeCgroup(cpus, memory int64, reserved ...v1.ResourceList) (CgroupValues, error) {
	milli, left := cpus*1000, memory
	for _, r := range reserved {
		milli -= r.Cpu().MilliValue()
		left -= r.Memory().Value()
	}
	if milli <= 0 || left <= 0 {
		return CgroupValues{}, fmt.Errorf("kubeReserved and systemReserved leave pods nothing of the node's %d CPUs and %d bytes of memory: lower them", cpus, memory)
	}
	return CgroupValues{CPUShares: CPUShares(milli), Memory: left}, nil
}
