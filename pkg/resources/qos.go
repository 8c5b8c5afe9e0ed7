package resources

import (
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
