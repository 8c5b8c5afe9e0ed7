package resources

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// safeSysctls are namespaced and without effect on other pods, from the given kernel version on.
var safeSysctls = map[string]string{
	"kernel.shm_rmid_forced":              "",
	"net.ipv4.ip_local_port_range":        "",
	"net.ipv4.tcp_syncookies":             "",
	"net.ipv4.ping_group_range":           "",
	"net.ipv4.ip_unprivileged_port_start": "",
	"net.ipv4.ip_local_reserved_ports":    "3.16",
	"net.ipv4.tcp_keepalive_time":         "4.5",
	"net.ipv4.tcp_fin_timeout":            "4.6",
	"net.ipv4.tcp_keepalive_intvl":        "4.5",
	"net.ipv4.tcp_keepalive_probes":       "4.5",
	"net.ipv4.tcp_rmem":                   "4.15",
	"net.ipv4.tcp_wmem":                   "4.15",
}

func sysctls(n NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if p.Spec.SecurityContext == nil {
		return nil
	}
	for _, s := range p.Spec.SecurityContext.Sysctls {
		if err := checkSysctl(n, s.Name, p.Spec.HostNetwork, p.Spec.HostIPC); err != nil {
			return refuse(reasonSysctlForbidden, "forbidden sysctl: %v", err)
		}
	}
	return nil
}

func checkSysctl(n NodeFacts, sysctl string, hostNetwork, hostIPC bool) error {
	sysctl = normalizeSysctl(sysctl)
	if !safe(n.KernelVersion, sysctl) && !allowed(n.AllowedUnsafeSysctls, sysctl) {
		return fmt.Errorf("%q not allowlisted", sysctl)
	}
	switch {
	case strings.HasPrefix(sysctl, "net.") && hostNetwork:
		return fmt.Errorf("%q not allowed with host net enabled", sysctl)
	case !strings.HasPrefix(sysctl, "net.") && hostIPC:
		return fmt.Errorf("%q not allowed with host ipc enabled", sysctl)
	}
	return nil
}

func safe(kernel, sysctl string) bool {
	since, known := safeSysctls[sysctl]
	if !known || since == "" {
		return known
	}
	v, err := version.ParseGeneric(kernel)
	return err == nil && v.AtLeast(version.MustParseGeneric(since))
}

func allowed(patterns []string, sysctl string) bool {
	for _, p := range patterns {
		p = normalizeSysctl(p)
		if prefix, wild := strings.CutSuffix(p, "*"); p == sysctl || wild && strings.HasPrefix(sysctl, prefix) {
			return true
		}
	}
	return false
}

// normalizeSysctl turns the slash form (net/ipv4/conf/eth0.1/forwarding) into the dotted one, in which the dots of a
// component are slashes. Which form a name has is told by its first separator.
func normalizeSysctl(s string) string {
	if i := strings.IndexAny(s, "./"); i < 0 || s[i] == '.' {
		return s
	}
	return strings.NewReplacer("/", ".", ".", "/").Replace(s)
}
