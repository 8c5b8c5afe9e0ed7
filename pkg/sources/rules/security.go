package rules

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func privileged(s *v1.SecurityContext) bool {
	return s != nil && s.Privileged != nil && *s.Privileged
}

// validateID validates a user or group.
func validateID(at *field.Path, id *int64) field.ErrorList {
	if id == nil {
		return nil
	}
	return messages(at, *id, validation.IsValidUserID(*id))
}

func validateSecurity(s *v1.SecurityContext, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := validateID(at.Child("runAsUser"), s.RunAsUser)
	errs = append(errs, validateID(at.Child("runAsGroup"), s.RunAsGroup)...)
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		if privileged(s) {
			errs = append(errs, field.Invalid(at.Child("allowPrivilegeEscalation"), false, "cannot be false in a privileged container"))
		}
		if s.Capabilities != nil {
			for i, c := range s.Capabilities.Add {
				if c == "CAP_SYS_ADMIN" {
					errs = append(errs, field.Invalid(at.Child("capabilities", "add").Index(i), c, "needs allowPrivilegeEscalation"))
				}
			}
		}
	}
	if s.ProcMount != nil {
		errs = append(errs, oneOf(at.Child("procMount"), *s.ProcMount, v1.DefaultProcMount, v1.UnmaskedProcMount)...)
		if *s.ProcMount == v1.UnmaskedProcMount && (spec.HostUsers == nil || *spec.HostUsers) {
			errs = append(errs, field.Invalid(at.Child("procMount"), *s.ProcMount, "needs a pod with its own users (hostUsers: false)"))
		}
	}
	errs = append(errs, validateSeccomp(s.SeccompProfile, at.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(s.AppArmorProfile, at.Child("appArmorProfile"))...)
	return append(errs, validateWindows(s.WindowsOptions, spec, at)...)
}

// validateWindows: the options of another system only matter where the pod says that it is for this one.
func validateWindows(o *v1.WindowsSecurityContextOptions, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	if o == nil || spec.OS == nil || spec.OS.Name != v1.Linux {
		return nil
	}
	return field.ErrorList{field.Forbidden(at.Child("windowsOptions"), "the pod is for Linux")}
}

func validatePodSecurity(spec *v1.PodSpec, at *field.Path) field.ErrorList {
	s := spec.SecurityContext
	if s == nil {
		return nil
	}
	errs := validateID(at.Child("runAsUser"), s.RunAsUser)
	errs = append(errs, validateID(at.Child("runAsGroup"), s.RunAsGroup)...)
	errs = append(errs, validateID(at.Child("fsGroup"), s.FSGroup)...)
	for i := range s.SupplementalGroups {
		errs = append(errs, validateID(at.Child("supplementalGroups").Index(i), &s.SupplementalGroups[i])...)
	}
	if p := s.SELinuxChangePolicy; p != nil {
		errs = append(errs, oneOf(at.Child("seLinuxChangePolicy"), *p, v1.SELinuxChangePolicyRecursive)...)
	}
	errs = append(errs, validateWindows(s.WindowsOptions, spec, at)...)
	if p := s.FSGroupChangePolicy; p != nil {
		errs = append(errs, oneOf(at.Child("fsGroupChangePolicy"), *p, v1.FSGroupChangeOnRootMismatch, v1.FSGroupChangeAlways)...)
	}
	if p := s.SupplementalGroupsPolicy; p != nil {
		errs = append(errs, oneOf(at.Child("supplementalGroupsPolicy"), *p, v1.SupplementalGroupsPolicyMerge, v1.SupplementalGroupsPolicyStrict)...)
	}
	errs = append(errs, validateSeccomp(s.SeccompProfile, at.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(s.AppArmorProfile, at.Child("appArmorProfile"))...)
	return append(errs, validateSysctls(spec, at.Child("sysctls"))...)
}

func validateSysctls(spec *v1.PodSpec, at *field.Path) field.ErrorList {
	ctls := spec.SecurityContext.Sysctls
	if len(ctls) == 0 {
		return nil
	}
	const segment = `[a-z0-9]([-_a-z0-9]*[a-z0-9])?`
	name := regexp.MustCompile(`^(` + segment + `[./])*` + segment + `$`)
	seen := map[string]bool{}
	var errs field.ErrorList
	for i, ctl := range ctls {
		here := at.Index(i).Child("name")
		dotted := strings.ReplaceAll(ctl.Name, "/", ".")
		switch {
		case len(ctl.Name) > 253 || !name.MatchString(ctl.Name):
			errs = append(errs, field.Invalid(here, ctl.Name, "must be the name of a kernel parameter, such as net.ipv4.ip_forward"))
		case spec.HostNetwork && strings.HasPrefix(dotted, "net."):
			errs = append(errs, field.Invalid(here, ctl.Name, "would be the host's: the pod is on its network (hostNetwork: true)"))
		case spec.HostIPC && (strings.HasPrefix(dotted, "fs.mqueue.") || strings.HasPrefix(dotted, "kernel.shm") ||
			strings.HasPrefix(dotted, "kernel.msg") || dotted == "kernel.sem"):
			errs = append(errs, field.Invalid(here, ctl.Name, "would be the host's: the pod shares its memory (hostIPC: true)"))
		}
		if seen[ctl.Name] {
			errs = append(errs, field.Duplicate(here, ctl.Name))
		}
		seen[ctl.Name] = true
	}
	return errs
}

func validateSeccomp(p *v1.SeccompProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := oneOf(at.Child("type"), p.Type, v1.SeccompProfileTypeLocalhost, v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined)
	local := p.Type == v1.SeccompProfileTypeLocalhost
	switch {
	case local && p.LocalhostProfile == nil:
		errs = append(errs, field.Required(at.Child("localhostProfile"), "type Localhost needs it"))
	case local && !beneath(*p.LocalhostProfile):
		errs = append(errs, field.Invalid(at.Child("localhostProfile"), *p.LocalhostProfile, "must be a relative path without '..'"))
	case !local && p.LocalhostProfile != nil:
		errs = append(errs, field.Invalid(at.Child("localhostProfile"), *p.LocalhostProfile, "only for type Localhost"))
	}
	return errs
}

// validateAppArmorAnnotations validates those that named a container's profile before there was a field for it.
func validateAppArmorAnnotations(p *v1.Pod, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
		name, ok := strings.CutPrefix(key, v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix)
		if !ok {
			continue
		}
		named := func(c v1.Container) bool { return c.Name == name }
		if !slices.ContainsFunc(p.Spec.Containers, named) && !slices.ContainsFunc(p.Spec.InitContainers, named) {
			errs = append(errs, field.Invalid(at.Key(key), name, "the pod has no container of this name"))
		}
		switch v := p.Annotations[key]; {
		case v == "", v == v1.DeprecatedAppArmorBetaProfileRuntimeDefault, v == v1.DeprecatedAppArmorBetaProfileNameUnconfined,
			strings.HasPrefix(v, v1.DeprecatedAppArmorBetaProfileNamePrefix):
		default:
			errs = append(errs, field.Invalid(at.Key(key), v, "must be runtime/default, unconfined or localhost/<profile>: or better, write securityContext.appArmorProfile"))
		}
	}
	return errs
}

func validateAppArmor(p *v1.AppArmorProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := oneOf(at.Child("type"), p.Type, v1.AppArmorProfileTypeLocalhost, v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined)
	here := at.Child("localhostProfile")
	switch name := p.LocalhostProfile; {
	case (p.Type == v1.AppArmorProfileTypeLocalhost) != (name != nil):
		errs = append(errs, field.Invalid(here, name, "must be set for type Localhost, and only then"))
	case name != nil && (*name == "" || strings.TrimSpace(*name) != *name || len(*name) > 4095):
		errs = append(errs, field.Invalid(here, *name, "must be the name of a loaded profile"))
	}
	return errs
}
