package testbed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// place is where one node of several lives. An Env without one is a node of its own in the machine's network.
type place struct {
	of     *Env   // whose bridge joins the nodes, and whose sweep removes them
	netns  string // a network namespace, bound to a file
	number int    // from 1
}

// maxNodes is what a pod network of 10.243.N.0/24 has /26 subnets for, beside the one with its own address in it.
const maxNodes = 3

// NodeEnv makes one more node of a cluster: an Env below this one, with directories, cgroups and a pod network of its own,
// in a network namespace with an address on this one's bridge. What it starts runs in there. Node k has the address
// 10.241.N.(k+1) and the pods 10.243.N.(64*k)/26; every node, and the machine, has a route to the pods of the others.
func (e *Env) NodeEnv(name string) *Env {
	e.t.Helper()
	n := &Env{N: e.N, Dir: filepath.Join(e.Dir, name), t: e.t, began: e.began}
	n.place = &place{of: e, netns: e.Path("netns", name), number: len(e.nodes) + 1}
	if n.place.number > maxNodes {
		e.t.Fatalf("an environment has at most %d nodes", maxNodes)
	}
	err := errors.Join(os.MkdirAll(filepath.Join(n.Dir, "log"), 0o755), n.makeNetNS())
	if err == nil {
		err = errors.Join(n.plug(), e.route(n))
	}
	for _, other := range e.nodes {
		if err == nil {
			err = errors.Join(n.within(func() error { return n.route(other) }), other.within(func() error { return other.route(n) }))
		}
	}
	if err != nil {
		e.t.Fatalf("cannot make node %s: %v", name, err)
	}
	e.nodes = append(e.nodes, n)
	return n
}

// clusterCIDR holds the pod networks of all nodes that NodeEnv made.
func (e *Env) clusterCIDR() string { return fmt.Sprintf("10.243.%d.0/24", e.N) }

// DNSIP is the address in the service network that a cluster's DNS has by custom.
func (e *Env) DNSIP() string { return fmt.Sprintf("10.242.%d.10", e.N) }

// parent is the Env that made this one.
func (e *Env) parent() *Env {
	if e.place == nil {
		return nil
	}
	return e.place.of
}

// ownThread calls f on a thread that ends with it: f may move it into another namespace. It is never the main thread,
// which cannot end.
func ownThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			ownThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func (e *Env) makeNetNS() (err error) {
	ownThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if err = os.WriteFile(e.place.netns, nil, 0o600); err != nil {
			return
		}
		err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), e.place.netns, "", unix.MS_BIND, "")
	})
	return err
}

// within calls f in the node's namespace.
func (e *Env) within(f func() error) (err error) {
	ownThread(func() {
		if err = e.enter(); err == nil {
			err = f()
		}
	})
	return err
}

// enter moves the calling thread, which must be one of ownThread, into the node's namespace.
func (e *Env) enter() error {
	if e.place == nil {
		return nil
	}
	f, err := os.Open(e.place.netns)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter %s: %w", e.place.netns, err)
	}
	return nil
}

// plug gives the node its eth0, whose other end is on the bridge, and the ways to the bridge's machine and beyond.
func (e *Env) plug() error {
	f, err := os.Open(e.place.netns)
	if err != nil {
		return err
	}
	defer f.Close()
	bridge, err := netlink.LinkByName(e.Bridge())
	if err != nil {
		return err
	}
	outside := fmt.Sprintf("%s-%d", e.Bridge(), e.place.number)
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: outside, MasterIndex: bridge.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(f.Fd()),
	}); err != nil {
		return fmt.Errorf("cannot make %s: %w", outside, err)
	}
	link, err := netlink.LinkByName(outside)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	return errors.Join(err, e.within(func() error {
		lo, err1 := netlink.LinkByName("lo")
		eth, err2 := netlink.LinkByName("eth0")
		addr, err3 := netlink.ParseAddr(e.NodeIP() + "/24")
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(lo), netlink.AddrAdd(eth, addr), netlink.LinkSetUp(eth),
			netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(e.place.of.NodeIP())}),
			os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600),
			os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0o600))
	}))
}

// route sends what is for the pods of another node to that node.
func (e *Env) route(to *Env) error {
	_, pods, err := net.ParseCIDR(to.PodCIDR())
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: pods, Gw: net.ParseIP(to.NodeIP())})
}

// unplug removes the ends of the nodes' cables from the machine: a namespace that nobody is in any more goes, with its own
// ends, only when the kernel finds the time.
func (e *Env) unplug() error {
	links, err := links()
	errs := []error{err}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, e.Bridge()+"-") {
			errs = append(errs, netlink.LinkDel(l))
		}
	}
	return errors.Join(errs...)
}

// links are all network devices. The kernel says when devices have come or gone while it told them: then it is asked again.
func links() (all []netlink.Link, err error) {
	for range 20 {
		if all, err = netlink.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// KubeProxy runs kube-proxy for a node of a cluster, in "nftables" or "iptables" mode. After Kill, called again, it is a
// restart.
func (e *Env) KubeProxy(cp *ControlPlane, node, mode string) *Process {
	e.t.Helper()
	return e.Start("kube-proxy", exec.Command(Tool(e.t, "kube-proxy"),
		"--kubeconfig="+cp.kubeconfig("system:kube-proxy"), "--hostname-override="+node, "--proxy-mode="+mode, "--cluster-cidr="+e.clusterCIDR(),
		"--healthz-bind-address="+net.JoinHostPort(e.NodeIP(), strconv.Itoa(e.Port())), "--metrics-bind-address="+net.JoinHostPort(e.NodeIP(), strconv.Itoa(e.Port())),
		// What concerns connection tracking as a whole is the machine's, not a namespace's.
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"))
}
