package manifest

import (
	"cmp"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresources "k8s.io/component-helpers/resource"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// defaultPod fills in what an API server fills in when a pod is created there.
func defaultPod(p *v1.Pod) {
	s := &p.Spec
	s.RestartPolicy = cmp.Or(s.RestartPolicy, v1.RestartPolicyAlways)
	s.DNSPolicy = cmp.Or(s.DNSPolicy, v1.DNSClusterFirst)
	s.SchedulerName = cmp.Or(s.SchedulerName, v1.DefaultSchedulerName)
	s.DeprecatedServiceAccount = cmp.Or(s.DeprecatedServiceAccount, s.ServiceAccountName)
	s.ServiceAccountName = cmp.Or(s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.TerminationGracePeriodSeconds = cmp.Or(s.TerminationGracePeriodSeconds, new(int64(v1.DefaultTerminationGracePeriodSeconds)))
	if *s.TerminationGracePeriodSeconds < 0 { // as an API server reads it: as soon as it can be
		s.TerminationGracePeriodSeconds = new(int64(1))
	}
	s.EnableServiceLinks = cmp.Or(s.EnableServiceLinks, new(v1.DefaultEnableServiceLinks))
	s.SecurityContext = cmp.Or(s.SecurityContext, &v1.PodSecurityContext{})
	if s.Priority == nil {
		s.Priority = classPriority(s.PriorityClassName)
	}
	roundUp(s.Overhead)
	for i := range s.Volumes {
		defaultVolumeSource(&s.Volumes[i].VolumeSource)
	}
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i], s.HostNetwork)
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i], s.HostNetwork)
	}
	for i := range s.EphemeralContainers {
		c := v1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&c, s.HostNetwork)
		s.EphemeralContainers[i].EphemeralContainerCommon = v1.EphemeralContainerCommon(c)
	}
	defaultPodResources(p)
	defaultAppArmor(p)
}

// defaultAppArmor gives containers the profile that an annotation from before the field names, where nothing else does.
func defaultAppArmor(p *v1.Pod) {
	set := func(c *v1.Container) {
		profile, ok := p.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]
		if !ok || p.Spec.SecurityContext.AppArmorProfile != nil || c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			return
		}
		var to *v1.AppArmorProfile
		name, local := strings.CutPrefix(profile, v1.DeprecatedAppArmorBetaProfileNamePrefix)
		switch {
		case profile == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
			to = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
		case profile == v1.DeprecatedAppArmorBetaProfileNameUnconfined:
			to = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
		case local && name != "":
			to = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
		default:
			return
		}
		c.SecurityContext = cmp.Or(c.SecurityContext, &v1.SecurityContext{})
		c.SecurityContext.AppArmorProfile = to
	}
	for i := range p.Spec.InitContainers {
		set(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		set(&p.Spec.Containers[i])
	}
}

// classPriority knows the two classes that every cluster has; an API server resolves the others.
func classPriority(class string) *int32 {
	switch class {
	case "system-node-critical":
		return new(int32(pod.CriticalPriority + 1000))
	case "system-cluster-critical":
		return new(int32(pod.CriticalPriority))
	}
	return nil
}

func defaultContainer(c *v1.Container, hostNetwork bool) {
	c.ImagePullPolicy = cmp.Or(c.ImagePullPolicy, pullPolicy(c.Image))
	c.TerminationMessagePath = cmp.Or(c.TerminationMessagePath, v1.TerminationMessagePathDefault)
	c.TerminationMessagePolicy = cmp.Or(c.TerminationMessagePolicy, v1.TerminationMessageReadFile)
	for i := range c.Ports {
		c.Ports[i].Protocol = cmp.Or(c.Ports[i].Protocol, v1.ProtocolTCP)
		if hostNetwork {
			c.Ports[i].HostPort = cmp.Or(c.Ports[i].HostPort, c.Ports[i].ContainerPort)
		}
	}
	for i := range c.Env {
		from := c.Env[i].ValueFrom
		if from != nil && from.FieldRef != nil {
			from.FieldRef.APIVersion = cmp.Or(from.FieldRef.APIVersion, "v1")
		}
		if from != nil && from.FileKeyRef != nil {
			from.FileKeyRef.Optional = cmp.Or(from.FileKeyRef.Optional, new(false))
		}
	}
	for _, p := range []*v1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		defaultProbe(p)
	}
	if c.Lifecycle != nil {
		for _, h := range []*v1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
	roundUp(c.Resources.Limits)
	roundUp(c.Resources.Requests)
	c.Resources.Requests = requestLimits(c.Resources)
}

// pullPolicy is Always for an image that may change under its name: one with the tag latest, or with none.
func pullPolicy(image string) v1.PullPolicy {
	name, _, digest := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	if tag == "latest" || !tagged && !digest {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

func defaultProbe(p *v1.Probe) {
	if p == nil {
		return
	}
	p.TimeoutSeconds = cmp.Or(p.TimeoutSeconds, 1)
	p.PeriodSeconds = cmp.Or(p.PeriodSeconds, 10)
	p.SuccessThreshold = cmp.Or(p.SuccessThreshold, 1)
	p.FailureThreshold = cmp.Or(p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		p.GRPC.Service = cmp.Or(p.GRPC.Service, new(""))
	}
}

func defaultHTTPGet(h *v1.HTTPGetAction) {
	if h != nil {
		h.Path = cmp.Or(h.Path, "/")
		h.Scheme = cmp.Or(h.Scheme, v1.URISchemeHTTP)
	}
}

// requestLimits returns the requests with every limit that has no request of its own.
func requestLimits(r v1.ResourceRequirements) v1.ResourceList {
	out := r.Requests
	for name, limit := range r.Limits {
		out = fill(out, name, limit)
	}
	return out
}

// roundUp makes every amount one of whole thousandths, the least that Kubernetes counts.
func roundUp(list v1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

// defaultPodResources gives the resources of a pod as a whole (KEP-2837) what they leave open: the limit of huge pages is
// that of the containers, a request is what the containers request together, else the limit.
func defaultPodResources(p *v1.Pod) {
	r := p.Spec.Resources
	if r == nil || len(r.Limits)+len(r.Requests) == 0 {
		return
	}
	roundUp(r.Limits)
	roundUp(r.Requests)
	for name, sum := range podresources.AggregateContainerLimits(p, podresources.PodResourcesOptions{}) {
		if _, requested := r.Requests[name]; !requested && hugePages(name) {
			r.Limits = fill(r.Limits, name, sum)
		}
	}
	if len(r.Limits) == 0 {
		return
	}
	for name, sum := range podresources.AggregateContainerRequests(p, podresources.PodResourcesOptions{}) {
		if podresources.IsSupportedPodLevelResource(name) && !hugePages(name) {
			r.Requests = fill(r.Requests, name, sum)
		}
	}
	for name, limit := range r.Limits {
		if podresources.IsSupportedPodLevelResource(name) {
			r.Requests = fill(r.Requests, name, limit)
		}
	}
}

func hugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// fill returns a list with an amount of what it says nothing of.
func fill(list v1.ResourceList, name v1.ResourceName, q resource.Quantity) v1.ResourceList {
	if _, said := list[name]; said {
		return list
	}
	if list == nil {
		list = v1.ResourceList{}
	}
	list[name] = q.DeepCopy()
	return list
}
