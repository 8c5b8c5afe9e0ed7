package act

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Limits of a resolver configuration, as the C library and Kubernetes have them.
const (
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048
)

// resolver is a resolver configuration.
type resolver struct {
	servers, searches, options []string
}

// parseResolver reads a resolv.conf. Lines that it does not know are passed over.
func parseResolver(text string) resolver {
	var r resolver
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.servers = append(r.servers, f[1])
		case "search":
			r.searches = f[1:]
		case "options":
			r.options = f[1:]
		}
	}
	return r
}

// podResolver applies the pod's dnsPolicy and dnsConfig. Host is the node's own configuration. With no cluster DNS server,
// ClusterFirst falls back to the host's. Cut tells of what a limit dropped.
func podResolver(p *v1.Pod, host resolver, clusterDNS []string, domain string) (r resolver, cut []string) {
	cluster := p.Spec.DNSPolicy == v1.DNSClusterFirstWithHostNet || p.Spec.DNSPolicy == v1.DNSClusterFirst && !p.Spec.HostNetwork
	switch {
	case p.Spec.DNSPolicy == v1.DNSNone:
	case cluster && len(clusterDNS) > 0:
		r.servers = clusterDNS
		if domain != "" {
			r.searches = []string{p.Namespace + ".svc." + domain, "svc." + domain, domain}
		}
		r.searches = append(r.searches, host.searches...)
		r.options = []string{"ndots:5"}
	default:
		r = host
	}
	if c := p.Spec.DNSConfig; c != nil {
		r.servers = join(r.servers, c.Nameservers)
		r.searches = join(r.searches, c.Searches)
		r.options = mergeOptions(r.options, c.Options)
	}
	return limit(r)
}

func join(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func mergeOptions(old []string, more []v1.PodDNSConfigOption) []string {
	out := slices.Clone(old)
	for _, o := range more {
		out = slices.DeleteFunc(out, func(s string) bool { name, _, _ := strings.Cut(s, ":"); return name == o.Name })
		if o.Value != nil && *o.Value != "" {
			out = append(out, o.Name+":"+*o.Value)
		} else {
			out = append(out, o.Name)
		}
	}
	return out
}

// limit drops what is too much, and tells what is left of each line that was too long.
func limit(r resolver) (resolver, []string) {
	var cut []string
	if len(r.servers) > maxNameservers {
		r.servers = r.servers[:maxNameservers]
		cut = append(cut, "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+strings.Join(r.servers, " "))
	}
	all := len(r.searches) // older C libraries abort at a name that is too long
	r.searches = slices.Clone(r.searches[:min(all, maxSearches)])
	r.searches = slices.DeleteFunc(r.searches, func(s string) bool { return len(s) > validation.DNS1123SubdomainMaxLength })
	for len(strings.Join(r.searches, " ")) > maxSearchLength {
		r.searches = r.searches[:len(r.searches)-1]
	}
	if len(r.searches) < all {
		cut = append(cut, "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+strings.Join(r.searches, " "))
	}
	return r, cut
}
