package cri

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

// Values of oom_score_adj by quality of service: the kernel kills the highest first.
const (
	oomGuaranteed = -997
	oomBestEffort = 1000
)

// nodeCritical is the class of pods that a node cannot do without. Its priority without its name does not count.
const nodeCritical = "system-node-critical"

// Node is what of the node decides the cgroup values of containers.
type Node struct {
	Capacity      resources.Capacity
	CFS           resources.CFS
	CgroupV2      bool // OOM groups are set
	LimitsSwap    bool // the node's cgroups can
	SingleOOMKill bool // singleProcessOOMKill: cgroup v2 kills one process and not the container's all
}

// Resources are cgroup values in CRI's units; zero is unset.
type Resources struct {
	CPUShares, CPUQuota, CPUPeriod, MemoryLimit int64
}

func (r *Resources) cri() *runtimeapi.LinuxContainerResources {
	if r == nil {
		return nil
	}
	return &runtimeapi.LinuxContainerResources{
		CpuShares: r.CPUShares, CpuQuota: r.CPUQuota, CpuPeriod: r.CPUPeriod, MemoryLimitInBytes: r.MemoryLimit,
	}
}

// LinuxResources makes the cgroup values of a container.
func LinuxResources(p *v1.Pod, c *v1.Container, qos v1.PodQOSClass, n Node) *runtimeapi.LinuxContainerResources {
	v := resources.ContainerCgroup(p, c.Resources, n.CFS, n.Capacity)
	out := &runtimeapi.LinuxContainerResources{
		CpuShares: v.CPUShares, CpuQuota: v.CPUQuota, CpuPeriod: v.CPUPeriod, MemoryLimitInBytes: v.Memory,
		OomScoreAdj: oomScoreAdj(p, c, qos, n.Capacity.Memory),
	}
	for _, size := range slices.Sorted(maps.Keys(v.HugePages)) {
		out.HugepageLimits = append(out.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: resources.PageSize(size), Limit: uint64(v.HugePages[size])})
	}
	if n.LimitsSwap && !n.CgroupV2 {
		out.MemorySwapLimitInBytes = out.MemoryLimitInBytes // memory and swap together: no swap
	}
	if n.CgroupV2 {
		out.Unified = unified(n)
	}
	return out
}

// unified are the values that cgroup v2 alone has. A container may not swap, whether its memory is limited or not (KEP-2400).
func unified(n Node) map[string]string {
	values := map[string]string{}
	if n.LimitsSwap {
		values["memory.swap.max"] = "0"
	}
	if !n.SingleOOMKill {
		values["memory.oom.group"] = "1"
	}
	return values
}

// oomScoreAdj ranks a container's processes for the kernel's OOM killer: guaranteed and node-critical pods last, best
// effort first, burstable ones by how little of the node's memory they request. A sidecar never goes before the first of
// the containers that it serves.
func oomScoreAdj(p *v1.Pod, c *v1.Container, qos v1.PodQOSClass, memoryCapacity int64) int64 {
	if p.Spec.PriorityClassName == nodeCritical && pod.IsCritical(p) {
		return oomGuaranteed
	}
	switch qos {
	case v1.PodQOSGuaranteed:
		return oomGuaranteed
	case v1.PodQOSBestEffort:
		return oomBestEffort
	}
	shared := sharedMemory(p)
	score := burstableScore(c, shared, memoryCapacity)
	if pod.IsSidecar(c) && len(p.Spec.Containers) > 0 {
		first := int64(0)
		for i := range p.Spec.Containers {
			first = max(first, burstableScore(&p.Spec.Containers[i], shared, memoryCapacity))
		}
		score = min(score, first)
	}
	return score
}

func burstableScore(c *v1.Container, shared, capacity int64) int64 {
	if capacity <= 0 {
		return oomBestEffort - 1
	}
	request := c.Resources.Requests.Memory().Value() + shared
	// Between what a guaranteed and a best-effort container have, however much or little is requested.
	return min(max(oomBestEffort-oomBestEffort*request/capacity, oomBestEffort+oomGuaranteed), oomBestEffort-1)
}

// sharedMemory is each container's part of the memory that the pod requests as a whole and no container does (KEP-2837).
// Init containers have a part too, also those that have ended: a container's score does not change.
func sharedMemory(p *v1.Pod) int64 {
	n := int64(len(p.Spec.Containers) + len(p.Spec.InitContainers))
	if n == 0 || p.Spec.Resources == nil || p.Spec.Resources.Requests.Memory().IsZero() {
		return 0
	}
	requests := resourcehelper.AggregateContainerRequests(p, resourcehelper.PodResourcesOptions{})
	return max(p.Spec.Resources.Requests.Memory().Value()-requests.Memory().Value(), 0) / n
}
