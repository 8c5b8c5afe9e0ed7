package rules

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Pod reports what an API server would refuse in a pod that has its defaults, as far as a node acts on it.
func Pod(p *v1.Pod) field.ErrorList {
	errs := validateMeta(&p.ObjectMeta, true)
	errs = append(errs, validateAppArmorAnnotations(p, field.NewPath("metadata", "annotations"))...)
	spec := field.NewPath("spec")
	volumes, more := validateVolumes(p.Spec.Volumes, spec.Child("volumes"))
	errs = append(errs, more...)
	errs = append(errs, validateSpec(&p.Spec, spec)...)
	errs = append(errs, validateHostNetworkPorts(p, spec)...)
	errs = append(errs, validatePodResources(p, spec.Child("resources"))...)

	c := containers{spec: &p.Spec, volumes: volumes, names: sets.New[string](), ports: map[hostPort]string{}}
	if len(p.Spec.Containers) == 0 {
		errs = append(errs, field.Required(spec.Child("containers"), "a pod needs at least one container"))
	}
	for i := range p.Spec.Containers {
		c.validate(&p.Spec.Containers[i], pod.Main, spec.Child("containers").Index(i))
	}
	for i := range p.Spec.InitContainers {
		c.hostPorts()
		c.validate(&p.Spec.InitContainers[i], pod.Init, spec.Child("initContainers").Index(i))
	}
	return append(errs, c.errs...)
}

// StaticPod reports what a pod that comes from a file or a URL cannot have.
func StaticPod(p *v1.Pod) field.ErrorList {
	spec, errs := field.NewPath("spec"), field.ErrorList(nil)
	no := func(at *field.Path, why string) { errs = append(errs, field.Forbidden(at, why)) }
	if p.Spec.ServiceAccountName != "" {
		no(spec.Child("serviceAccountName"), "only pods of an API server have service accounts: remove it")
	}
	if len(p.Spec.EphemeralContainers) > 0 {
		no(spec.Child("ephemeralContainers"), "they are only added to a pod that runs, through an API server: remove them")
	}
	if len(p.Spec.ResourceClaims) > 0 {
		no(spec.Child("resourceClaims"), "only pods of an API server have resource claims: remove them")
	}
	if len(p.Spec.SchedulingGates) > 0 {
		no(spec.Child("schedulingGates"), "a pod of this node is not scheduled: remove them")
	}
	for i, v := range p.Spec.Volumes {
		at := spec.Child("volumes").Index(i)
		if v.Ephemeral != nil {
			no(at.Child("ephemeral"), "only an API server makes claims from a template: name a claim with persistentVolumeClaim")
		}
		if v.Projected == nil {
			continue
		}
		for j, s := range v.Projected.Sources {
			here := at.Child("projected", "sources").Index(j)
			if s.ServiceAccountToken != nil {
				no(here.Child("serviceAccountToken"), "only pods of an API server have service account tokens: remove it")
			}
			if s.PodCertificate != nil {
				no(here.Child("podCertificate"), "only pods of an API server have certificates: remove it")
			}
		}
	}
	return errs
}

func validateMeta(m *metav1.ObjectMeta, namespaced bool) field.ErrorList {
	at, errs := field.NewPath("metadata"), field.ErrorList(nil)
	switch {
	case m.Name == "" && m.GenerateName != "":
		errs = append(errs, field.Required(at.Child("name"), "generateName needs an API server: write a name"))
	case m.Name == "":
		errs = append(errs, field.Required(at.Child("name"), ""))
	default:
		errs = append(errs, messages(at.Child("name"), m.Name, validation.IsDNS1123Subdomain(m.Name))...)
	}
	if namespaced {
		errs = append(errs, messages(at.Child("namespace"), m.Namespace, validation.IsDNS1123Label(m.Namespace))...)
	}
	if uid := string(m.UID); uid != "" { // it becomes a directory, a cgroup and a label
		errs = append(errs, messages(at.Child("uid"), uid, validation.IsDNS1123Label(uid))...)
	}
	errs = append(errs, metavalidation.ValidateLabels(m.Labels, at.Child("labels"))...)
	size := 0
	for _, k := range slices.Sorted(maps.Keys(m.Annotations)) {
		size += len(k) + len(m.Annotations[k])
		errs = append(errs, messages(at.Child("annotations").Key(k), k, validation.IsQualifiedName(strings.ToLower(k)))...)
	}
	if size > 256<<10 {
		errs = append(errs, field.TooLong(at.Child("annotations"), "", 256<<10))
	}
	errs = append(errs, apivalidation.ValidateOwnerReferences(m.OwnerReferences, at.Child("ownerReferences"))...)
	for i, f := range m.Finalizers {
		here := at.Child("finalizers").Index(i)
		errs = append(errs, apivalidation.ValidateFinalizerName(f, here)...)
		if !strings.Contains(f, "/") && !slices.Contains([]string{metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents}, f) {
			errs = append(errs, field.Invalid(here, f, "must have a domain, such as example.com/"+f))
		}
	}
	return errs
}

func validateSpec(s *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	add := func(e ...*field.Error) { errs = append(errs, e...) }
	add(oneOf(at.Child("restartPolicy"), s.RestartPolicy, v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)...)
	add(oneOf(at.Child("dnsPolicy"), s.DNSPolicy, v1.DNSClusterFirstWithHostNet, v1.DNSClusterFirst, v1.DNSDefault, v1.DNSNone)...)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > 1<<31-1) {
		add(field.Invalid(at.Child("activeDeadlineSeconds"), *d, "must be between 1 and 2147483647"))
	}
	for name, value := range map[string]string{"hostname": s.Hostname, "subdomain": s.Subdomain} {
		if value != "" {
			add(messages(at.Child(name), value, validation.IsDNS1123Label(value))...)
		}
	}
	if s.RuntimeClassName != nil {
		add(messages(at.Child("runtimeClassName"), *s.RuntimeClassName, validation.IsDNS1123Subdomain(*s.RuntimeClassName))...)
	}
	if s.PriorityClassName != "" {
		add(messages(at.Child("priorityClassName"), s.PriorityClassName, validation.IsDNS1123Subdomain(s.PriorityClassName))...)
	}
	if s.OS != nil { // a pod for another system is refused at admission
		add(oneOf(at.Child("os", "name"), s.OS.Name, v1.Linux, v1.Windows)...)
	}
	if s.PreemptionPolicy != nil {
		add(oneOf(at.Child("preemptionPolicy"), *s.PreemptionPolicy, v1.PreemptLowerPriority, v1.PreemptNever)...)
	}
	for i, g := range s.ReadinessGates {
		add(messages(at.Child("readinessGates").Index(i).Child("conditionType"), g.ConditionType, validation.IsQualifiedName(string(g.ConditionType)))...)
	}
	if s.NodeName != "" {
		add(messages(at.Child("nodeName"), s.NodeName, validation.IsDNS1123Subdomain(s.NodeName))...)
	}
	add(validateAmounts(s.Overhead, at.Child("overhead"))...)
	add(validateHostname(s, at.Child("hostnameOverride"))...)
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace && s.HostPID {
		add(field.Invalid(at.Child("shareProcessNamespace"), true, "hostPID and shareProcessNamespace exclude each other"))
	}
	if s.HostUsers != nil && !*s.HostUsers {
		for name, host := range map[string]bool{"hostNetwork": s.HostNetwork, "hostPID": s.HostPID, "hostIPC": s.HostIPC} {
			if host {
				add(field.Forbidden(at.Child(name), "a pod with its own users (hostUsers: false) cannot share it with the host"))
			}
		}
	}
	add(validateScheduling(s, at)...)
	add(validateDNS(s, at)...)
	add(validatePodSecurity(s, at.Child("securityContext"))...)
	return errs
}

// validateHostname: the host name of KEP-4762 is a whole DNS name that the kernel can hold.
func validateHostname(s *v1.PodSpec, at *field.Path) field.ErrorList {
	name := s.HostnameOverride
	if name == nil {
		return nil
	}
	errs := messages(at, *name, validation.IsDNS1123Subdomain(*name))
	switch {
	case len(*name) > 64:
		errs = append(errs, field.TooLong(at, *name, 64))
	case s.HostNetwork:
		errs = append(errs, field.Forbidden(at, "a pod on the host's network (hostNetwork: true) has the host's name"))
	case s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN:
		errs = append(errs, field.Forbidden(at, "hostnameOverride and setHostnameAsFQDN exclude each other"))
	}
	return errs
}

func validateDNS(s *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, h := range s.HostAliases {
		here := at.Child("hostAliases").Index(i)
		errs = append(errs, validateIP(here.Child("ip"), h.IP)...)
		for j, name := range h.Hostnames {
			errs = append(errs, messages(here.Child("hostnames").Index(j), name, validation.IsDNS1123Subdomain(name))...)
		}
	}
	c := s.DNSConfig
	here := at.Child("dnsConfig")
	if s.DNSPolicy == v1.DNSNone && (c == nil || len(c.Nameservers) == 0) {
		errs = append(errs, field.Required(here.Child("nameservers"), "dnsPolicy None needs at least one"))
	}
	if c == nil {
		return errs
	}
	if len(c.Nameservers) > 3 {
		errs = append(errs, field.TooMany(here.Child("nameservers"), len(c.Nameservers), 3))
	}
	for i, ip := range c.Nameservers {
		errs = append(errs, validateIP(here.Child("nameservers").Index(i), ip)...)
	}
	if len(c.Searches) > 32 {
		errs = append(errs, field.TooMany(here.Child("searches"), len(c.Searches), 32))
	}
	for i, search := range c.Searches {
		if name := strings.TrimSuffix(search, "."); search != "." {
			errs = append(errs, messages(here.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(name))...)
		}
	}
	for i, o := range c.Options {
		if o.Name == "" {
			errs = append(errs, field.Required(here.Child("options").Index(i).Child("name"), ""))
		}
	}
	return errs
}

// validateHostNetworkPorts: on the host's network a container has the ports that it says.
func validateHostNetworkPorts(p *v1.Pod, spec *field.Path) field.ErrorList {
	if !p.Spec.HostNetwork {
		return nil
	}
	var errs field.ErrorList
	for i, c := range p.Spec.Containers {
		for j, port := range c.Ports {
			if port.HostPort != port.ContainerPort {
				errs = append(errs, field.Invalid(spec.Child("containers").Index(i).Child("ports").Index(j).Child("hostPort"),
					port.HostPort, "must be the same as containerPort with hostNetwork: true"))
			}
		}
	}
	return errs
}

func validateIP(at *field.Path, s string) field.ErrorList {
	if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" || a.Is4In6() {
		return field.ErrorList{field.Invalid(at, s, "must be an IPv4 or IPv6 address, such as 10.0.0.1")}
	}
	return nil
}

// beneath reports whether a path stays below the directory that it is joined to.
func beneath(p string) bool {
	return p != "" && !path.IsAbs(p) && !slices.Contains(strings.Split(p, "/"), "..")
}

func messages[T any](at *field.Path, value T, texts []string) field.ErrorList {
	var errs field.ErrorList
	for _, t := range texts {
		errs = append(errs, field.Invalid(at, value, t))
	}
	return errs
}

func oneOf[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(at, value, allowed)}
}
