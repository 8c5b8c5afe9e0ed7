package act

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// maxHosts bounds, in bytes, how much of a hosts file is overwritten without a gap: a container may have made it of any size.
const maxHosts = 1 << 20

// writeHosts puts the pod's hosts file in place and returns its path. Containers have it mounted, so that they see another
// content only in this very file, never in one that is renamed into its place. They may read it at any moment: a file that
// is right is not touched, and one that is not is overwritten with one write, never emptied first. That write blanks what is
// left of a longer content, before it is cut off.
func (e *Executor) writeHosts(podDir string, content []byte) (string, error) {
	e.hostsMu.Lock()
	defer e.hostsMu.Unlock()
	path := filepath.Join(podDir, "etc-hosts")
	if err := overwrite(path, content); err != nil {
		return "", fmt.Errorf("cannot write the pod's hosts file: %w", err)
	}
	return path, nil
}

func overwrite(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return err
	}
	if i.Mode().Perm() != 0o644 { // any user of the containers reads it
		if err := f.Chmod(0o644); err != nil {
			return err
		}
	}
	if i.Size() == int64(len(content)) {
		old := make([]byte, len(content))
		if _, err := f.ReadAt(old, 0); err == nil && bytes.Equal(old, content) {
			return nil
		}
	}
	blank := min(max(i.Size()-int64(len(content)), 0), maxHosts)
	if _, err := f.WriteAt(append(slices.Clip(content), bytes.Repeat([]byte("\n"), int(blank))...), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(content)))
}
