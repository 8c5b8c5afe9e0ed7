package cri

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// DNS is a sandbox's resolver configuration. The zero value leaves the runtime's default: the host's.
type DNS struct{ Servers, Searches, Options []string }

// IDMapping maps a range of IDs of a user namespace onto the host.
type IDMapping struct{ HostID, ContainerID, Length uint32 }

// UserNamespace is the user namespace of a pod (KEP-127); nil stands for the host's.
type UserNamespace struct{ UIDs, GIDs []IDMapping }

// SandboxInput is all that a sandbox's configuration is made from.
type SandboxInput struct {
	Pod           *v1.Pod
	Attempt       uint32
	LogRoot       string // directory of all pod logs: /var/log/pods
	Hostname      string // see Hostname; not used on the host network
	DNS           DNS
	CgroupParent  string // as the cgroup driver wants it; "" leaves it to the runtime
	UserNamespace *UserNamespace
	Overhead      *Resources // of the RuntimeClass; nil for none
	Resources     *Resources // sum of the containers; nil when not told to the runtime
	Seccomp       string     // absolute path of the sandbox's own seccomp profile; "": the runtime's default
}

// PodLogDir is the directory of a pod's logs: root/namespace_name_uid. Names are validated before they get here.
func PodLogDir(root string, p *v1.Pod) string {
	return filepath.Join(root, pod.LogDirName(p))
}

// ContainerLogPath is a container's log below its pod's log directory: name/attempt.log.
func ContainerLogPath(container string, attempt uint32) string {
	return filepath.Join(container, strconv.FormatUint(uint64(attempt), 10)+".log")
}

// Hostname is the pod's host name: spec.hostnameOverride, else spec.hostname, else its name, cut to 63 characters.
func Hostname(p *v1.Pod) string {
	name := p.Spec.Hostname
	if o := p.Spec.HostnameOverride; o != nil && *o != "" {
		name = *o
	}
	if name == "" {
		name = p.Name
	}
	const maxLabel = 63
	if len(name) > maxLabel {
		name = strings.TrimRight(name[:maxLabel], "-.")
	}
	return name
}

// Sandbox makes the configuration of a pod's sandbox.
func Sandbox(in SandboxInput) (*runtimeapi.PodSandboxConfig, error) {
	p := in.Pod
	cfg := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{
			Name: p.Name, Namespace: p.Namespace, Uid: string(p.UID), Attempt: in.Attempt,
		},
		LogDirectory: PodLogDir(in.LogRoot, p),
		Labels:       sandboxLabels(p),
		Annotations:  p.Annotations,
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    in.CgroupParent,
			SecurityContext: sandboxSecurity(in),
			Overhead:        in.Overhead.cri(),
			Resources:       in.Resources.cri(),
		},
	}
	if !p.Spec.HostNetwork {
		cfg.Hostname = in.Hostname
	}
	if d := in.DNS; len(d.Servers)+len(d.Searches)+len(d.Options) > 0 {
		cfg.DnsConfig = &runtimeapi.DNSConfig{Servers: d.Servers, Searches: d.Searches, Options: d.Options}
	}
	var err error
	if cfg.PortMappings, err = portMappings(p); err != nil {
		return nil, err
	}
	if sc := p.Spec.SecurityContext; sc != nil && len(sc.Sysctls) > 0 {
		cfg.Linux.Sysctls = make(map[string]string, len(sc.Sysctls))
		for _, s := range sc.Sysctls {
			cfg.Linux.Sysctls[sysctlName(s.Name)] = s.Value
		}
	}
	return cfg, nil
}

func sandboxLabels(p *v1.Pod) map[string]string {
	m := make(map[string]string, len(p.Labels)+3)
	for k, v := range p.Labels {
		m[k] = v
	}
	m[LabelPodName], m[LabelPodNamespace], m[LabelPodUID] = p.Name, p.Namespace, string(p.UID)
	return m
}

// portMappings lists the ports of main containers, published on the host or not, as a kubelet does: network plugins may read
// them. It does not list those of sidecars; here they are listed where they are published.
func portMappings(p *v1.Pod) ([]*runtimeapi.PortMapping, error) {
	var out []*runtimeapi.PortMapping
	for role, c := range pod.Spec(p) {
		if role != pod.Main && role != pod.Sidecar {
			continue
		}
		for i, port := range c.Ports {
			again := slices.ContainsFunc(c.Ports[:i], func(o v1.ContainerPort) bool { o.Name = port.Name; return o == port })
			if again || role == pod.Sidecar && port.HostPort == 0 {
				continue
			}
			m := &runtimeapi.PortMapping{ContainerPort: port.ContainerPort, HostPort: port.HostPort, HostIp: port.HostIP}
			switch port.Protocol {
			case v1.ProtocolTCP, "":
			case v1.ProtocolUDP:
				m.Protocol = runtimeapi.Protocol_UDP
			case v1.ProtocolSCTP:
				m.Protocol = runtimeapi.Protocol_SCTP
			default:
				return nil, fmt.Errorf("cannot map port %d of container %s: protocol %q is none of TCP, UDP, SCTP", port.ContainerPort, c.Name, port.Protocol)
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// sysctlName gives a sysctl its dotted name: the slash form exists for names with dots in them
// (net/ipv4/conf/eth0.1/forwarding), which the dotted form writes as slashes.
func sysctlName(s string) string {
	i := strings.IndexAny(s, "./")
	if i < 0 || s[i] == '.' {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, s)
}

func sandboxSecurity(in SandboxInput) *runtimeapi.LinuxSandboxSecurityContext {
	p := in.Pod
	out := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: namespaces(p, in.UserNamespace, ""),
		Privileged:       anyPrivileged(p),
		// What runs in a sandbox is the pause program, whatever the pod asks for its containers.
		Seccomp: &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
	}
	if in.Seccomp != "" {
		out.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: in.Seccomp}
	}
	sc := p.Spec.SecurityContext
	if sc == nil {
		return out
	}
	if sc.RunAsUser != nil { // CRI refuses a group without a user
		out.RunAsUser = &runtimeapi.Int64Value{Value: *sc.RunAsUser}
		if sc.RunAsGroup != nil {
			out.RunAsGroup = &runtimeapi.Int64Value{Value: *sc.RunAsGroup}
		}
	}
	out.SupplementalGroups = podGroups(sc, nil)
	out.SupplementalGroupsPolicy = groupsPolicy(sc)
	out.SelinuxOptions = selinux(sc.SELinuxOptions)
	return out
}

// anyPrivileged counts ephemeral containers too: a runtime refuses a privileged one in a sandbox that was not told of it.
func anyPrivileged(p *v1.Pod) bool {
	for _, c := range pod.Spec(p) {
		if sc := c.SecurityContext; sc != nil && isTrue(sc.Privileged) {
			return true
		}
	}
	return false
}

// namespaces tells which namespaces a container shares. Target is the container whose process namespace an ephemeral
// container joins.
func namespaces(p *v1.Pod, user *UserNamespace, target string) *runtimeapi.NamespaceOption {
	mode := func(host bool) runtimeapi.NamespaceMode {
		if host {
			return runtimeapi.NamespaceMode_NODE
		}
		return runtimeapi.NamespaceMode_POD
	}
	out := &runtimeapi.NamespaceOption{Network: mode(p.Spec.HostNetwork), Ipc: mode(p.Spec.HostIPC)}
	switch {
	case p.Spec.HostPID:
		out.Pid = runtimeapi.NamespaceMode_NODE
	case target != "":
		out.Pid, out.TargetId = runtimeapi.NamespaceMode_TARGET, target
	case p.Spec.ShareProcessNamespace != nil && *p.Spec.ShareProcessNamespace:
		out.Pid = runtimeapi.NamespaceMode_POD
	default:
		out.Pid = runtimeapi.NamespaceMode_CONTAINER
	}
	out.UsernsOptions = &runtimeapi.UserNamespace{Mode: mode(user == nil)}
	if user != nil {
		out.UsernsOptions.Uids, out.UsernsOptions.Gids = idMappings(user.UIDs), idMappings(user.GIDs)
	}
	return out
}

func idMappings(in []IDMapping) []*runtimeapi.IDMapping {
	var out []*runtimeapi.IDMapping
	for _, m := range in {
		out = append(out, &runtimeapi.IDMapping{HostId: m.HostID, ContainerId: m.ContainerID, Length: m.Length})
	}
	return out
}
