package rules

import (
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	podresources "k8s.io/component-helpers/resource"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// validateResources validates those of a container, with requests that have their defaults. The claims are the pod's.
func validateResources(r *v1.ResourceRequirements, claims []v1.PodResourceClaim, at *field.Path) field.ErrorList {
	errs := validateAmounts(r.Limits, at.Child("limits"))
	errs = append(errs, validateAmounts(r.Requests, at.Child("requests"))...)
	errs = append(errs, validateRequests(r, at)...)
	if mem, ok := r.Limits[v1.ResourceMemory]; ok && mem.Cmp(resource.MustParse("1Ki")) < 0 && mem.Sign() > 0 {
		errs = append(errs, field.Invalid(at.Child("limits").Key("memory"), mem.String(), "less than 1Ki: a unit such as Mi is missing"))
	}
	for i, c := range r.Claims {
		if !slices.ContainsFunc(claims, func(p v1.PodResourceClaim) bool { return p.Name == c.Name }) {
			errs = append(errs, field.NotFound(at.Child("claims").Index(i).Child("name"), c.Name))
		}
	}
	return errs
}

// validateAmounts validates the names and quantities of one list.
func validateAmounts(list v1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q, here := list[name], at.Key(string(name))
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(here, q.String(), "must not be negative"))
		}
		bad := validation.IsQualifiedName(string(name))
		errs = append(errs, messages(here, string(name), bad)...)
		switch {
		case len(bad) > 0:
		case strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix):
			errs = append(errs, validateHugePages(name, q, here)...)
		case !strings.Contains(string(name), "/"):
			if !knownResource(name) {
				errs = append(errs, field.Invalid(here, string(name), "must be cpu, memory, ephemeral-storage, hugepages-<size> or domain/name"))
			}
		case strings.HasPrefix(string(name), v1.DefaultResourceRequestsPrefix):
			errs = append(errs, field.Invalid(here, string(name), "must not begin with "+v1.DefaultResourceRequestsPrefix))
		case !strings.Contains(string(name), "kubernetes.io/") && q.MilliValue()%1000 != 0:
			errs = append(errs, field.Invalid(here, q.String(), "must be a whole number"))
		}
	}
	return errs
}

// validateHugePages wants whole pages.
func validateHugePages(name v1.ResourceName, q resource.Quantity, at *field.Path) field.ErrorList {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), v1.ResourceHugePagesPrefix))
	switch {
	case err != nil || size.Sign() <= 0:
		return field.ErrorList{field.Invalid(at, string(name), "must end with the size of a page, such as hugepages-2Mi")}
	case q.Value()%size.Value() != 0:
		return field.ErrorList{field.Invalid(at, q.String(), "must be a multiple of the page's size")}
	}
	return nil
}

// overcommits reports whether the limit of a resource may be more than the request.
func overcommits(name v1.ResourceName) bool {
	native := !strings.Contains(string(name), "/") || strings.Contains(string(name), "kubernetes.io/")
	return native && !strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

func validateRequests(r *v1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	var huge, compute bool
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request, here := r.Requests[name], at.Child("requests").Key(string(name))
		huge = huge || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
		compute = compute || name == v1.ResourceCPU || name == v1.ResourceMemory
		limit, limited := r.Limits[name]
		switch {
		case !limited && !overcommits(name):
			errs = append(errs, field.Required(at.Child("limits").Key(string(name)), "must be set, and the same as the request"))
		case limited && !overcommits(name) && request.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(here, request.String(), "must be the same as the limit, "+limit.String()))
		case limited && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(here, request.String(), "must be at most the limit, "+limit.String()))
		}
	}
	if huge && !compute {
		errs = append(errs, field.Forbidden(at, "huge pages need cpu or memory beside them"))
	}
	return errs
}

// validatePodResources validates those of the whole pod (KEP-2837), with requests that have their defaults.
func validatePodResources(p *v1.Pod, at *field.Path) field.ErrorList {
	r := p.Spec.Resources
	if r == nil {
		return nil
	}
	errs := append(validateAmounts(r.Limits, at.Child("limits")), validateAmounts(r.Requests, at.Child("requests"))...)
	errs = append(errs, validateRequests(r, at)...)
	if len(r.Claims) > 0 {
		errs = append(errs, field.Forbidden(at.Child("claims"), "only containers have claims"))
	}
	for part, list := range map[string]v1.ResourceList{"limits": r.Limits, "requests": r.Requests} {
		for name := range list {
			if !podresources.IsSupportedPodLevelResource(name) {
				errs = append(errs, field.Invalid(at.Child(part).Key(string(name)), string(name), "a pod as a whole has cpu, memory and hugepages-<size>: give it to a container"))
			}
		}
	}
	for name, sum := range podresources.AggregateContainerRequests(p, podresources.PodResourcesOptions{}) {
		if request, ok := r.Requests[name]; ok && sum.Cmp(request) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests").Key(string(name)), request.String(), "must be at least what the containers request, "+sum.String()))
		}
	}
	for i, c := range p.Spec.Containers {
		for name, limit := range c.Resources.Limits {
			if most, ok := r.Limits[name]; ok && limit.Cmp(most) > 0 {
				errs = append(errs, field.Invalid(field.NewPath("spec", "containers").Index(i).Child("resources", "limits").Key(string(name)), limit.String(),
					"must be at most the pod's limit, "+most.String()))
			}
		}
	}
	return errs
}

func validateResizePolicy(in *v1.Container, role pod.Role, restart v1.RestartPolicy, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[v1.ResourceName]bool{}
	for i, p := range in.ResizePolicy {
		here := at.Index(i)
		if seen[p.ResourceName] {
			errs = append(errs, field.Duplicate(here.Child("resourceName"), p.ResourceName))
		}
		seen[p.ResourceName] = true
		errs = append(errs, oneOf(here.Child("resourceName"), p.ResourceName, v1.ResourceCPU, v1.ResourceMemory)...)
		errs = append(errs, oneOf(here.Child("restartPolicy"), p.RestartPolicy, v1.NotRequired, v1.RestartContainer)...)
		if p.RestartPolicy != v1.RestartContainer {
			continue
		}
		switch {
		case restart == v1.RestartPolicyNever:
			errs = append(errs, field.Invalid(here.Child("restartPolicy"), p.RestartPolicy, "must be NotRequired in a pod with restartPolicy: Never"))
		case role == pod.Init && !pod.IsSidecar(in):
			errs = append(errs, field.Invalid(here.Child("restartPolicy"), p.RestartPolicy, "must be NotRequired in an init container that is no sidecar"))
		}
	}
	return errs
}

func knownResource(name v1.ResourceName) bool {
	switch name {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage:
		return true
	}
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}
