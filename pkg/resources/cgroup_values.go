package resources

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// CgroupValues are what is written to a cgroup, in the units of cgroup v1. Zero leaves a value unset.
type CgroupValues struct {
	CPUShares int64 // 2 to 262144
	CPUQuota  int64 // microseconds per CPUPeriod
	CPUPeriod int64 // microseconds
	Memory    int64 // bytes
	PIDs      int64
	HugePages map[string]int64 // bytes, by page size as resource names have it ("2Mi"); a size that is missing is left unset
}

// DefaultCPUPeriod is the kernel's own CFS period.
const DefaultCPUPeriod = 100 * time.Millisecond

// unlimitedHugePages is what a kubelet writes where it sets no limit.
const unlimitedHugePages = 1 << 62

// CFS says how CPU limits are enforced.
type CFS struct {
	Quota  bool          // they are (cpuCFSQuota)
	Period time.Duration // zero is DefaultCPUPeriod
}

// limit is a CPU limit in milli-CPU as quota and period in microseconds; zero where no quotas are set.
func (c CFS) limit(milli int64) (quota, period int64) {
	if !c.Quota {
		return 0, 0
	}
	period = cmp.Or(c.Period, DefaultCPUPeriod).Microseconds()
	return cpuQuota(milli, period), period
}

// Capacity is what a node has, and some cgroup of it may use.
type Capacity struct {
	CPUs, Memory, PIDs int64            // PIDs 0: not known, no limit
	HugePages          map[string]int64 // bytes, by page size as resource names have it; of every size that the kernel has
}

// reservedPIDs is the name under which kubeReserved and systemReserved keep process IDs from pods.
const reservedPIDs v1.ResourceName = "pid"

// NodeCgroup derives the values of the cgroup of all pods from what the node has and what is reserved (node allocatable).
// Eviction thresholds are not taken off: they are crossed before the kernel kills. Reserves that leave pods nothing are an
// error.
func NodeCgroup(c Capacity, reserved ...v1.ResourceList) (CgroupValues, error) {
	milli, memory, pids := c.CPUs*1000, c.Memory, c.PIDs
	for _, r := range reserved {
		milli -= r.Cpu().MilliValue()
		memory -= r.Memory().Value()
		held := r[reservedPIDs]
		pids -= held.Value()
	}
	if milli <= 0 || memory <= 0 || pids <= 0 && c.PIDs > 0 {
		return CgroupValues{}, fmt.Errorf("kubeReserved and systemReserved leave pods nothing of the node's %d CPUs, %d bytes of memory and %d process IDs: lower them",
			c.CPUs, c.Memory, c.PIDs)
	}
	return CgroupValues{CPUShares: CPUShares(milli), Memory: memory, PIDs: max(pids, 0), HugePages: c.HugePages}, nil
}

// ClassCgroup derives the values of the cgroup of a class from the pods that are on the node: burstable pods together weigh
// what they request, best-effort ones the least. Guaranteed pods have no cgroup of their class.
func ClassCgroup(class v1.PodQOSClass, pods []*v1.Pod, c Capacity) CgroupValues {
	milli := int64(0)
	for _, p := range pods {
		if class == v1.PodQOSBurstable && QOSClass(p) == class {
			requests := Requests(p)
			milli += requests.Cpu().MilliValue()
		}
	}
	values := CgroupValues{CPUShares: CPUShares(milli), HugePages: map[string]int64{}}
	for size := range c.HugePages {
		values.HugePages[size] = unlimitedHugePages
	}
	return values
}

// PodCgroup derives a pod's cgroup values. A limit holds for the pod only when each of its containers has it, as the
// others may use what they like.
func PodCgroup(p *v1.Pod, cfs CFS, c Capacity) CgroupValues {
	requests := Requests(p)
	if QOSClass(p) == v1.PodQOSBestEffort { // an overhead does not make it weigh more
		return CgroupValues{CPUShares: CPUShares(0), HugePages: hugePages(requests, c)}
	}
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
	values := CgroupValues{CPUShares: CPUShares(requests.Cpu().MilliValue()), HugePages: hugePages(requests, c)}
	if cpuLimited {
		values.CPUQuota, values.CPUPeriod = cfs.limit(limits.Cpu().MilliValue())
	}
	if memoryLimited {
		values.Memory = limits.Memory().Value()
	}
	return values
}

// PodSize is what a pod's containers have together, without overhead: what a runtime is told that puts a pod into a machine of its own
// (KEP-2371). Unlike in the pod's cgroup, containers without a limit do not count.
func PodSize(p *v1.Pod, cfs CFS) CgroupValues {
	bare := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
	requests, limits := resourcehelper.PodRequests(p, bare), resourcehelper.PodLimits(p, bare)
	cpu, asked := requests[v1.ResourceCPU]
	if !asked {
		cpu = limits[v1.ResourceCPU]
	}
	values := CgroupValues{CPUShares: CPUShares(cpu.MilliValue()), Memory: limits.Memory().Value()}
	values.CPUQuota, values.CPUPeriod = cfs.limit(limits.Cpu().MilliValue())
	return values
}

// OverheadSize is a pod's overhead, as a request and a limit at once: the runtime is told of it besides PodSize. Nil: there is none.
func OverheadSize(p *v1.Pod, cfs CFS) *CgroupValues {
	if len(p.Spec.Overhead) == 0 {
		return nil
	}
	milli := p.Spec.Overhead.Cpu().MilliValue()
	values := &CgroupValues{CPUShares: CPUShares(milli), Memory: p.Spec.Overhead.Memory().Value()}
	values.CPUQuota, values.CPUPeriod = cfs.limit(milli)
	return values
}

// ContainerCgroup derives a container's cgroup values. A limit that it does not set is the pod's (KEP-2837).
func ContainerCgroup(p *v1.Pod, r v1.ResourceRequirements, cfs CFS, c Capacity) CgroupValues {
	limits := v1.ResourceList{}
	if resourcehelper.IsPodLevelResourcesSet(p) {
		limits = p.Spec.Resources.Limits.DeepCopy()
	}
	for name, q := range r.Limits {
		if limits == nil {
			limits = v1.ResourceList{}
		}
		if own := !q.IsZero() || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix); own {
			limits[name] = q
		}
	}
	request, asked := r.Requests[v1.ResourceCPU]
	if !asked {
		request = limits[v1.ResourceCPU]
	}
	v := CgroupValues{CPUShares: CPUShares(request.MilliValue()), Memory: limits.Memory().Value(), HugePages: hugePages(limits, c)}
	v.CPUQuota, v.CPUPeriod = cfs.limit(limits.Cpu().MilliValue())
	return v
}

// hugePages limits every page size of the node; one that is not asked for is limited to nothing.
func hugePages(asked v1.ResourceList, c Capacity) map[string]int64 {
	if len(c.HugePages) == 0 {
		return nil
	}
	limits := make(map[string]int64, len(c.HugePages))
	for size := range c.HugePages {
		q := asked[v1.ResourceName(v1.ResourceHugePagesPrefix+size)]
		limits[size] = max(q.Value(), 0)
	}
	return limits
}

// PageSize turns a page size of a resource name (2Mi) into the one of the names of cgroup files (2MB).
func PageSize(s string) string {
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return strings.TrimSuffix(s, "i") + "B"
	}
	units := []string{"B", "KB", "MB", "GB"}
	n, u := q.Value(), 0
	for n >= 1024 && n%1024 == 0 && u < len(units)-1 {
		n, u = n/1024, u+1
	}
	return resource.NewQuantity(n, resource.DecimalSI).String() + units[u]
}

// CPUShares is the cgroup v1 weight of a CPU request in milli-CPU: 1024 for one CPU, between the kernel's 2 and 262144.
func CPUShares(milli int64) int64 {
	const most = 262144
	if milli >= most*1000/1024 {
		return most
	}
	return max(milli*1024/1000, 2)
}

// MilliCPU is the CPU request in milli-CPU that a weight of cgroup v1 stands for, rounded up.
func MilliCPU(shares int64) int64 { return (shares*1000 + 1023) / 1024 }

// CPUWeight is the cgroup v2 weight that a kubelet gives its own cgroups for a weight of v1: 1 to 10000, spread evenly
// (KEP-2254). Runtimes spread those of containers in another way.
func CPUWeight(shares int64) int64 {
	return 1 + (min(max(shares, 2), 262144)-2)*9999/262142
}

// cpuQuota is the CFS quota in microseconds of a CPU limit in milli-CPU, at least the kernel's 1000; zero for no limit.
func cpuQuota(milli, period int64) int64 {
	if milli <= 0 {
		return 0
	}
	return max(min(milli, 1<<40)*period/1000, 1000) // no period is long enough to overflow then
}
