package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/cni"
)

// Bridge is the network that the agent provides on a node that has none: a Linux bridge with addresses from host-local,
// masquerading, hairpin and hostPort.
type Bridge struct {
	Device string         // the bridge; default minikubelet0
	Subnet []netip.Prefix // at most one per IP family; default: the first of 10.88.0.0/16 ... that is free on the host
}

// bridgeDevice is the default name of the bridge.
const bridgeDevice = "minikubelet0"

// bridgeNetwork is the network's name; ipamDir is where, in the agent's directory, its addresses are.
const (
	bridgeNetwork = "minikubelet-bridge"
	ipamDir       = "ipam"
)

// bridgeVersion is the newest CNI version that the plugins of Ubuntu 22.04 (0.9.1) know.
const bridgeVersion = "0.4.0"

// writeBridge puts the bridge network into the agent's directory, where a Node finds it when the configuration directory
// has no network. What is there already stays when it fits, so that a node keeps its subnet over restarts.
func writeBridge(dir string, b Bridge) error {
	path := filepath.Join(dir, cni.OwnNetworkFile)
	if b.Device == "" {
		b.Device = bridgeDevice
	}
	if len(b.Subnet) == 0 {
		if _, err := cni.LoadNetwork(path); err == nil {
			return nil
		}
		taken, err := hostPrefixes(b.Device)
		if err != nil {
			return fmt.Errorf("cannot choose a pod subnet: %w", err)
		}
		subnet, err := freeSubnet(taken)
		if err != nil {
			return err
		}
		b.Subnet = []netip.Prefix{subnet}
	}
	conf, err := b.render(filepath.Join(dir, ipamDir))
	if err != nil {
		return fmt.Errorf("cannot render the bridge network: %w", err)
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == string(conf) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot write the bridge network: %w", err)
	}
	if err := atomicfile.Write(path, conf, 0o600, atomicfile.Content); err != nil {
		return fmt.Errorf("cannot write the bridge network: %w", err)
	}
	return nil
}

// forgetBridge takes the bridge network's file and its addresses away, unless attachments to it are journalled. It
// reports whether there was one and it is gone now.
func forgetBridge(dir string) (bool, error) {
	path := filepath.Join(dir, cni.OwnNetworkFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	all, err := cni.New(cni.Config{Dir: dir}).List()
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(all, func(a cni.Attachment) bool { return a.Network == bridgeNetwork }) {
		return false, nil
	}
	if err := errors.Join(os.Remove(path), os.RemoveAll(filepath.Join(dir, ipamDir))); err != nil {
		return false, fmt.Errorf("cannot remove the bridge network: %w", err)
	}
	return true, nil
}

// render writes the configuration list. Addresses are kept in the agent's directory: nothing is left elsewhere.
func (b Bridge) render(dataDir string) ([]byte, error) {
	type object = map[string]any
	var ranges [][]object
	var routes []object
	for _, s := range b.Subnet {
		if s = s.Masked(); !s.IsValid() {
			return nil, errors.New("the pod subnet is invalid")
		}
		ranges = append(ranges, []object{{"subnet": s.String()}})
		dst := "0.0.0.0/0"
		if s.Addr().Is6() {
			dst = "::/0"
		}
		routes = append(routes, object{"dst": dst})
	}
	return json.MarshalIndent(object{
		"cniVersion": bridgeVersion,
		"name":       bridgeNetwork,
		"plugins": []object{
			{
				"type": "bridge", "bridge": b.Device, "isGateway": true, "ipMasq": true, "promiscMode": false, "hairpinMode": true,
				"ipam": object{"type": "host-local", "ranges": ranges, "routes": routes, "dataDir": dataDir},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}, "snat": true},
		},
	}, "", "  ")
}

// freeSubnet returns the first of 10.88.0.0/16 to 10.119.0.0/16, 172.30.0.0/16 and 192.168.128.0/17 that overlaps none.
func freeSubnet(taken []netip.Prefix) (netip.Prefix, error) {
	var candidates []netip.Prefix
	for i := byte(88); i < 120; i++ {
		candidates = append(candidates, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, i, 0, 0}), 16))
	}
	candidates = append(candidates, netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("192.168.128.0/17"))
next:
	for _, c := range candidates {
		for _, t := range taken {
			if c.Overlaps(t) {
				continue next
			}
		}
		return c, nil
	}
	return netip.Prefix{}, errors.New("cannot find a pod subnet that no interface of the host uses: set one with podCIDR")
}

// hostPrefixes lists the networks of the host's interfaces, without the bridge itself.
func hostPrefixes(except string) ([]netip.Prefix, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, i := range ifaces {
		if i.Name == except {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				all = append(all, p.Masked())
			}
		}
	}
	return all, nil
}
