package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Interface is a network interface of the machine that is up.
type Interface struct {
	Name      string
	Addresses []netip.Addr
	Default   bool // the default route leads through it
}

// PickAddresses chooses the node's addresses: the ones that were asked for (--node-ip: one, or one of each family, or an
// unspecified address for the family alone), else one address of the interface with the default route, else the first that
// is not loopback, IPv4 before IPv6. It never returns a loopback or link-local address: an API server refuses to reach a
// node there.
func PickAddresses(asked []netip.Addr, interfaces []Interface) ([]netip.Addr, error) {
	if len(asked) > 2 || len(asked) == 2 && asked[0].Is4() == asked[1].Is4() {
		return nil, fmt.Errorf("cannot use node-ip %v: give one address, or one of each family", asked)
	}
	var out []netip.Addr
	for _, a := range asked {
		switch {
		case a.IsUnspecified():
			got, err := pick(interfaces, a.Is4(), a.Is6())
			if err != nil {
				return nil, err
			}
			out = append(out, got)
		case !usable(a):
			return nil, fmt.Errorf("cannot use node-ip %s: an API server does not reach a loopback, link-local or multicast address", a)
		default:
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		got, err := pick(interfaces, true, true)
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
	return out, nil
}

func pick(interfaces []Interface, v4, v6 bool) (netip.Addr, error) {
	byDefault := slices.Clone(interfaces)
	slices.SortStableFunc(byDefault, func(a, b Interface) int {
		switch {
		case a.Default == b.Default:
			return 0
		case a.Default:
			return -1
		}
		return 1
	})
	for _, wantV4 := range []bool{true, false} {
		if wantV4 && !v4 || !wantV4 && !v6 {
			continue
		}
		for _, i := range byDefault {
			for _, a := range i.Addresses {
				if usable(a) && a.Is4() == wantV4 {
					return a, nil
				}
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("cannot find an address for the node: no interface that is up has one that is not loopback or link-local: give one with --node-ip")
}

func usable(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsLoopback() }

// addresses is the form that a Node has them in: the IPs, then the host name.
func addresses(ips []netip.Addr, hostname string) []v1.NodeAddress {
	out := make([]v1.NodeAddress, 0, len(ips)+1)
	for _, ip := range ips {
		out = append(out, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip.String()})
	}
	return append(out, v1.NodeAddress{Type: v1.NodeHostName, Address: hostname})
}

// InternalIPs are the addresses by which a Node is reached inside its cluster.
func InternalIPs(n *v1.Node) []string {
	var out []string
	for _, a := range n.Status.Addresses {
		if a.Type == v1.NodeInternalIP {
			out = append(out, a.Address)
		}
	}
	return out
}

// Interfaces reads the machine's interfaces that are up, in the kernel's order.
func Interfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("cannot list the network interfaces: %w", err)
	}
	through := defaultRoutes(text("/proc/net/route"), text("/proc/net/ipv6_route"))
	var out []Interface
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		n := Interface{Name: i.Name, Default: through[i.Name]}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				n.Addresses = append(n.Addresses, p.Addr().Unmap())
			}
		}
		out = append(out, n)
	}
	return out, nil
}

// defaultRoutes reads the interfaces of the default routes with the lowest metric, of each family.
func defaultRoutes(v4, v6 string) map[string]bool {
	out := map[string]bool{}
	best := uint64(1 << 40)
	name := ""
	for line := range strings.Lines(v4) { // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		if m, err := strconv.ParseUint(f[6], 10, 64); err == nil && m < best {
			best, name = m, f[0]
		}
	}
	if name != "" {
		out[name] = true
	}
	best, name = 1<<40, ""
	for line := range strings.Lines(v6) { // dest prefixlen source prefixlen nexthop metric refcnt use flags iface
		f := strings.Fields(line)
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || f[9] == "lo" {
			continue
		}
		if m, err := strconv.ParseUint(f[5], 16, 64); err == nil && m < best {
			best, name = m, f[9]
		}
	}
	if name != "" {
		out[name] = true
	}
	return out
}

// HostName is the name under which the node is known unless it is overridden: the machine's host name in lower case.
func HostName(override string) (string, error) {
	name := override
	if name == "" {
		h, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("cannot read the host name: %w: give one with --hostname-override", err)
		}
		name = h
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return "", fmt.Errorf("cannot use an empty host name: give one with --hostname-override")
	}
	return name, nil
}
