package eviction

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

// victim chooses the pod that goes first for a signal: one that uses more than it requests, of the lowest priority, with
// the most used above its request. A pod of which nothing is known goes before the others. nil when there are none. shared tells that images and pods' data lie on one file system.
func victim(s Signal, pods []*v1.Pod, used map[types.UID]stats.Pod, shared bool) *v1.Pod {
	type candidate struct {
		pod      *v1.Pod
		unknown  bool
		exceeds  bool
		priority int32
		over     int64
	}
	var all []candidate
	for _, p := range pods {
		u, known := used[p.UID]
		c := candidate{pod: p, unknown: !known}
		if p.Spec.Priority != nil {
			c.priority = *p.Spec.Priority
		}
		if known {
			amount, request := consumption(s, u, resources.Requests(p), shared)
			c.over, c.exceeds = amount-request, amount > request && s != pidAvailable
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil
	}
	return slices.MinFunc(all, func(a, b candidate) int {
		return cmp.Or(first(a.unknown, b.unknown), first(a.exceeds, b.exceeds), cmp.Compare(a.priority, b.priority), cmp.Compare(b.over, a.over))
	}).pod
}

// first puts true before false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// consumption is what a pod uses of what a signal is about, and what it requested of it.
func consumption(s Signal, u stats.Pod, requests v1.ResourceList, shared bool) (used, request int64) {
	disk := u.Disk
	if !shared {
		var writable stats.Usage
		for _, c := range u.Containers {
			writable.Bytes += c.Writable.Bytes
			writable.Inodes += c.Writable.Inodes
		}
		if s == imagefsAvailable || s == imagefsInodesFree {
			disk = writable
		} else {
			disk.Bytes -= writable.Bytes
			disk.Inodes -= writable.Inodes
		}
	}
	switch s {
	case memoryAvailable:
		return u.WorkingSet, requests.Memory().Value()
	case nodefsAvailable, imagefsAvailable:
		return disk.Bytes, requests.StorageEphemeral().Value()
	case nodefsInodesFree, imagefsInodesFree:
		return disk.Inodes, 0
	case pidAvailable:
		return u.Processes, 0
	}
	return 0, 0
}

// message tells a pod's owner why it was evicted for a threshold.
func message(t Threshold, o observations, p *v1.Pod, u stats.Pod) string {
	info, _ := t.Signal.info()
	seen := o[t.Signal]
	line := t.Value.of(seen.Capacity)
	var b strings.Builder
	fmt.Fprintf(&b, "The node was low on resource: %v. Threshold quantity: %s, available: %s. ",
		info.resource, line.String(), format(t.Signal, seen.Available))
	for _, c := range u.Containers {
		spec, _ := pod.SpecOf(p, c.Name)
		if spec == nil {
			continue
		}
		var used int64
		switch info.resource {
		case v1.ResourceMemory:
			used = c.WorkingSet
		case v1.ResourceEphemeralStorage:
			used = c.Writable.Bytes + c.Logs.Bytes
		default:
			continue
		}
		if request := spec.Resources.Requests[info.resource]; request.CmpInt64(used) < 0 {
			fmt.Fprintf(&b, "Container %s was using %s, request is %s, has larger consumption of %v. ",
				c.Name, resource.NewQuantity(used, resource.BinarySI), request.String(), info.resource)
		}
	}
	return b.String()
}

func format(s Signal, amount int64) string {
	f := resource.BinarySI
	if s == nodefsInodesFree || s == imagefsInodesFree || s == pidAvailable {
		f = resource.DecimalSI
	}
	return resource.NewQuantity(amount, f).String()
}

// candidates are the pods that may go: critical ones never do. A node without an API server has static pods alone, and
// would protect all of them: there, only a critical priority protects one.
func candidates(pods []*v1.Pod, standalone bool) []*v1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p *v1.Pod) bool {
		if standalone {
			return p.Spec.Priority != nil && *p.Spec.Priority >= pod.CriticalPriority
		}
		return pod.IsCritical(p)
	})
}

// hasLimits reports whether a pod limits its local storage at all, so that it must be measured.
func hasLimits(p *v1.Pod) bool {
	for i := range p.Spec.Volumes {
		if e := p.Spec.Volumes[i].EmptyDir; e != nil && e.SizeLimit != nil && e.SizeLimit.Sign() > 0 {
			return true
		}
	}
	for _, c := range pod.Spec(p) {
		if _, ok := c.Resources.Limits[v1.ResourceEphemeralStorage]; ok {
			return true
		}
	}
	return false
}

// overLimit tells which of its own local storage limits a pod exceeds, or "".
func overLimit(p *v1.Pod, u stats.Pod, shared bool) (which, why string) {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.Sign() <= 0 {
			continue
		}
		if v.EmptyDir.SizeLimit.CmpInt64(u.Volumes[v.Name].Bytes) < 0 {
			return emptyDirLimit, fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, v.EmptyDir.SizeLimit.String())
		}
	}
	if limit, ok := resources.Limits(p)[v1.ResourceEphemeralStorage]; ok && limit.CmpInt64(u.Disk.Bytes) < 0 {
		return podLimit, fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", limit.String())
	}
	for _, c := range u.Containers {
		spec, role := pod.SpecOf(p, c.Name)
		if spec == nil || role != pod.Main && role != pod.Sidecar {
			continue
		}
		used := c.Logs.Bytes
		if shared {
			used += c.Writable.Bytes
		}
		if limit, ok := spec.Resources.Limits[v1.ResourceEphemeralStorage]; ok && !limit.IsZero() && limit.CmpInt64(used) < 0 {
			return containerLimit, fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, limit.String())
		}
	}
	return "", ""
}
