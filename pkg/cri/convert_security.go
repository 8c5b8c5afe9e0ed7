package cri

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maskedPaths and readonlyPaths are what procMount: Default hides of the kernel from a container.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
		"/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// ImageUser is the user that an image names for its process: a number, or a name that only the image's own passwd file
// can resolve, or nobody, which means root.
type ImageUser struct {
	UID  *int64
	Name string
}

// security makes a container's security context out of the pod's and its own, of which its own prevails.
func security(in ContainerInput) (*runtimeapi.LinuxContainerSecurityContext, error) {
	sc, psc := in.Container.SecurityContext, in.Pod.Spec.SecurityContext
	if sc == nil {
		sc = &v1.SecurityContext{}
	}
	if psc == nil {
		psc = &v1.PodSecurityContext{}
	}
	if err := verifyNonRoot(sc, psc, in.ImageUser); err != nil {
		return nil, err
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		Privileged:               isTrue(sc.Privileged),
		ReadonlyRootfs:           isTrue(sc.ReadOnlyRootFilesystem),
		NoNewPrivs:               sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		NamespaceOptions:         namespaces(in.Pod, in.UserNamespace, in.TargetID),
		SupplementalGroups:       podGroups(psc, in.ExtraGroups),
		SupplementalGroupsPolicy: groupsPolicy(psc),
		SelinuxOptions:           selinux(first(sc.SELinuxOptions, psc.SELinuxOptions)),
	}
	setUser(out, sc, psc, in.ImageUser)
	if c := sc.Capabilities; c != nil {
		out.Capabilities = &runtimeapi.Capability{AddCapabilities: strs(c.Add), DropCapabilities: strs(c.Drop)}
	}
	if sc.ProcMount == nil || *sc.ProcMount == v1.DefaultProcMount {
		out.MaskedPaths, out.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	}
	var err error
	if out.Seccomp, err = seccomp(first(sc.SeccompProfile, psc.SeccompProfile), in.SeccompRoot, in.SeccompDefault); err != nil {
		return nil, err
	}
	out.Apparmor, err = apparmor(first(sc.AppArmorProfile, psc.AppArmorProfile))
	//lint:ignore SA1019 older runtimes know this field alone
	out.ApparmorProfile = oldAppArmor(out.Apparmor)
	return out, err
}

// setUser names the process's user. The image's own user is passed on, because CRI refuses a group without a user.
func setUser(out *runtimeapi.LinuxContainerSecurityContext, sc *v1.SecurityContext, psc *v1.PodSecurityContext, image ImageUser) {
	switch uid := first(sc.RunAsUser, psc.RunAsUser, image.UID); {
	case uid != nil:
		out.RunAsUser = &runtimeapi.Int64Value{Value: *uid}
	case image.Name != "":
		out.RunAsUsername = image.Name
	}
	if gid := first(sc.RunAsGroup, psc.RunAsGroup); gid != nil {
		out.RunAsGroup = &runtimeapi.Int64Value{Value: *gid}
		if out.RunAsUser == nil && out.RunAsUsername == "" {
			out.RunAsUser = &runtimeapi.Int64Value{}
		}
	}
}

func verifyNonRoot(sc *v1.SecurityContext, psc *v1.PodSecurityContext, image ImageUser) error {
	if nonRoot := first(sc.RunAsNonRoot, psc.RunAsNonRoot); nonRoot == nil || !*nonRoot {
		return nil
	}
	if uid := first(sc.RunAsUser, psc.RunAsUser); uid != nil {
		if *uid == 0 {
			return errors.New("container's runAsUser breaks non-root policy: runAsNonRoot is true and runAsUser is 0")
		}
		return nil
	}
	switch {
	case image.UID != nil && *image.UID == 0, image.UID == nil && image.Name == "":
		return errors.New("container has runAsNonRoot and image will run as root: set securityContext.runAsUser to a number above 0")
	case image.UID == nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root: "+
			"set securityContext.runAsUser to its number", image.Name)
	}
	return nil
}

func podGroups(sc *v1.PodSecurityContext, extra []int64) []int64 {
	var out []int64
	if sc.FSGroup != nil {
		out = append(out, *sc.FSGroup)
	}
	out = append(out, sc.SupplementalGroups...)
	return append(out, extra...)
}

func groupsPolicy(sc *v1.PodSecurityContext) runtimeapi.SupplementalGroupsPolicy {
	if sc.SupplementalGroupsPolicy != nil && *sc.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		return runtimeapi.SupplementalGroupsPolicy_Strict
	}
	return runtimeapi.SupplementalGroupsPolicy_Merge
}

func seccomp(p *v1.SeccompProfile, root string, runtimeDefault bool) (*runtimeapi.SecurityProfile, error) {
	kind := v1.SeccompProfileTypeUnconfined
	switch {
	case p != nil:
		kind = p.Type
	case runtimeDefault:
		kind = v1.SeccompProfileTypeRuntimeDefault
	}
	switch kind {
	case v1.SeccompProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
	case v1.SeccompProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	case v1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, errors.New("seccompProfile has type Localhost and no localhostProfile: name a file below the node's seccomp directory")
		}
		if !filepath.IsLocal(*p.LocalhostProfile) {
			return nil, fmt.Errorf("seccompProfile.localhostProfile %q leaves the node's seccomp directory %s: give a relative path below it",
				*p.LocalhostProfile, root)
		}
		return &runtimeapi.SecurityProfile{
			ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(root, *p.LocalhostProfile),
		}, nil
	}
	return nil, fmt.Errorf("seccompProfile.type %q is none of RuntimeDefault, Unconfined, Localhost", kind)
}

func apparmor(p *v1.AppArmorProfile) (*runtimeapi.SecurityProfile, error) {
	if p == nil {
		return nil, nil
	}
	switch p.Type {
	case v1.AppArmorProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
	case v1.AppArmorProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	case v1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, errors.New("appArmorProfile has type Localhost and no localhostProfile: name a profile loaded on the node")
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}, nil
	}
	return nil, fmt.Errorf("appArmorProfile.type %q is none of RuntimeDefault, Unconfined, Localhost", p.Type)
}

// oldAppArmor is the profile as CRI named it before it had a type.
func oldAppArmor(p *runtimeapi.SecurityProfile) string {
	switch {
	case p == nil:
		return ""
	case p.ProfileType == runtimeapi.SecurityProfile_RuntimeDefault:
		return v1.DeprecatedAppArmorBetaProfileRuntimeDefault
	case p.ProfileType == runtimeapi.SecurityProfile_Unconfined:
		return v1.DeprecatedAppArmorBetaProfileNameUnconfined
	}
	return v1.DeprecatedAppArmorBetaProfileNamePrefix + p.LocalhostRef
}

func selinux(o *v1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func strs[T ~string](in []T) []string {
	var out []string
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}

func isTrue(b *bool) bool { return b != nil && *b }

func first[T any](ps ...*T) *T {
	for _, p := range ps {
		if p != nil {
			return p
		}
	}
	return nil
}
