package act

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

const etcHosts = "/etc/hosts"

// hostsFile renders the managed /etc/hosts of a pod. On the host network, node is the node's own file, which is carried
// over; else it is not used.
func hostsFile(p *v1.Pod, ips []string, hostname, domain string, node []byte) []byte {
	var b strings.Builder
	if p.Spec.HostNetwork {
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(node)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n")
		b.WriteString("127.0.0.1\tlocalhost\n")
		b.WriteString("::1\tlocalhost ip6-localhost ip6-loopback\n")
		b.WriteString("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		for _, ip := range ips {
			if domain != "" {
				fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, hostname, domain, hostname)
			} else {
				fmt.Fprintf(&b, "%s\t%s\n", ip, hostname)
			}
		}
	}
	if len(p.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range p.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
		}
	}
	return []byte(b.String())
}

// maxKernelName is how long a host name the kernel can hold.
const maxKernelName = 64

// kernelName is what a process of the pod has as its host name: the pod's, with its domain when it is to be (KEP-1797).
func kernelName(p *v1.Pod, clusterDomain string) (string, error) {
	name, domain := cri.Hostname(p), domain(p, clusterDomain)
	if domain == "" || p.Spec.SetHostnameAsFQDN == nil || !*p.Spec.SetHostnameAsFQDN {
		return name, nil
	}
	name += "." + domain
	if len(name) > maxKernelName {
		return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long "+
			"(%d characters is the max, %d characters requested): shorten hostname or subdomain, or leave setHostnameAsFQDN", name, maxKernelName, len(name))
	}
	return name, nil
}

// domain of a pod: subdomain.namespace.svc.<cluster domain> when the pod has a subdomain. A host
// name that is overridden is complete as it is (KEP-4762).
func domain(p *v1.Pod, clusterDomain string) string {
	if p.Spec.Subdomain == "" || p.Spec.HostnameOverride != nil && *p.Spec.HostnameOverride != "" {
		return ""
	}
	return p.Spec.Subdomain + "." + p.Namespace + ".svc." + clusterDomain
}

// writeHosts puts the pod's hosts file in place and returns its path. It is rewritten in place, so that running
// containers, which have it mounted, see it too.
func writeHosts(podDir string, content []byte) (string, error) {
	path := filepath.Join(podDir, "etc-hosts")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return "", fmt.Errorf("cannot write the pod's hosts file: %w", err)
	}
	return path, nil
}
