package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	baseDir  = "/tmp/minikubelet-e2e" // short: a unix socket's path has at most 107 bytes
	maxEnvs  = 120
	portBase = 20000
	portStep = 100
)

// T is the part of testing.TB that the harness needs; a benchmark program brings its own.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Failed() bool
	Name() string
}

// Env is one isolated place to run components in. Cleanup of its T removes it and all that ran in it.
type Env struct {
	N   int
	Dir string // removed at the end; logs of the components are in Dir/log

	t        T
	lock     *os.File
	nextPort int
	procs    []*Process
	began    time.Time
	nodes    []*Env // that NodeEnv made
	place    *place // of one that NodeEnv made
}

// New claims an Env, removes what killed tests left behind, and makes the bridge that carries pods and the node address.
func New(t T) *Env {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatalf("tests against real components need root: run them as sudo make e2e")
	}
	if err := manyWatchers(); err != nil {
		t.Fatalf("cannot raise the number of file watchers: %v", err)
	}
	e, err := claim()
	if err != nil {
		t.Fatalf("cannot claim a test environment: %v", err)
	}
	e.t, e.nextPort, e.began = t, portBase+portStep*e.N, time.Now()
	t.Cleanup(e.close)
	if err := e.makeBridge(); err != nil {
		t.Fatalf("cannot make bridge %s: %v", e.Bridge(), err)
	}
	return e
}

// manyWatchers raises the machine's bound of inotify instances to what a dozen nodes and control planes take beside one
// another; containerd runs without its CRI service when there are none left. The bound stays until the machine starts anew.
func manyWatchers() error {
	const file, least = "/proc/sys/fs/inotify/max_user_instances", 2048
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || n >= least {
		return err
	}
	return os.WriteFile(file, []byte(strconv.Itoa(least)), 0o600)
}

// Bridge is the name of the Env's bridge. It exists from New on, so that the node has an address before its first pod.
func (e *Env) Bridge() string { return "mkt" + strconv.Itoa(e.N) }

// NodeIP is the bridge's address: not loopback, which an API server refuses to proxy to, and reachable from this machine
// alone. In an Env of NodeEnv it is that of the node's eth0.
func (e *Env) NodeIP() string {
	if e.place != nil {
		return fmt.Sprintf("10.241.%d.%d", e.N, 1+e.place.number)
	}
	return fmt.Sprintf("10.241.%d.1", e.N)
}

// PodCIDR is the network that the Env's CNI configuration hands addresses out of.
func (e *Env) PodCIDR() string {
	if e.place != nil {
		return fmt.Sprintf("10.243.%d.%d/26", e.N, 64*e.place.number)
	}
	return fmt.Sprintf("10.241.%d.0/24", e.N)
}

// serviceCIDR is the control plane's service network. Only where a kube-proxy runs it leads anywhere.
func (e *Env) serviceCIDR() string { return fmt.Sprintf("10.242.%d.0/24", e.N) }

// CgroupRoot is where the agent's kubepods, and containers that tests run without an agent, have their cgroups.
func (e *Env) CgroupRoot() string {
	root := "/mkt" + strconv.Itoa(e.N)
	if e.place != nil {
		root += "/" + filepath.Base(e.Dir)
	}
	return root
}

// Path makes the directory of a path below Dir and returns the path.
func (e *Env) Path(elem ...string) string {
	e.t.Helper()
	p := filepath.Join(append([]string{e.Dir}, elem...)...)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		e.t.Fatalf("cannot make the directory of %s: %v", p, err)
	}
	return p
}

// WriteFile writes a file below Dir and returns its path.
func (e *Env) WriteFile(content string, elem ...string) string {
	e.t.Helper()
	p := e.Path(elem...)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		e.t.Fatalf("cannot write: %v", err)
	}
	return p
}

// Port returns a port that nothing listens on and that no other Env hands out.
func (e *Env) Port() int {
	e.t.Helper()
	if e.place != nil {
		return e.place.of.Port()
	}
	for e.nextPort < portBase+portStep*(e.N+1) {
		port := e.nextPort
		e.nextPort++
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	e.t.Fatalf("all %d ports of environment %d are taken", portStep, e.N)
	return 0
}

// claim takes the lowest number whose lock is free, after removing what earlier owners of any free number left behind.
func claim() (*Env, error) {
	if err := os.MkdirAll(baseDir, 0o755); err != nil {
		return nil, err
	}
	var mine *Env
	for n := 1; n <= maxEnvs; n++ {
		e := &Env{N: n, Dir: filepath.Join(baseDir, strconv.Itoa(n))}
		_, statErr := os.Stat(e.Dir)
		if mine != nil && statErr != nil {
			continue // neither wanted nor to be swept
		}
		if !e.tryLock() {
			continue
		}
		if statErr == nil {
			if err := e.sweep(); err != nil {
				_ = e.lock.Close()
				return mine, fmt.Errorf("cannot remove what a killed test left in %s: %w", e.Dir, err)
			}
		}
		if mine != nil {
			_ = e.lock.Close()
			continue
		}
		mine = e
	}
	if mine == nil {
		return nil, fmt.Errorf("all %d are in use; see %s", maxEnvs, baseDir)
	}
	return mine, os.MkdirAll(filepath.Join(mine.Dir, "log"), 0o755)
}

func (e *Env) tryLock() bool {
	f, err := os.OpenFile(e.Dir+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return false
	}
	e.lock = f
	return true
}

func (e *Env) makeBridge() error {
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: e.Bridge()}}
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	prefix := netip.PrefixFrom(netip.MustParseAddr(e.NodeIP()), 24)
	addr, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
}

func (e *Env) close() {
	e.t.Helper()
	for i := len(e.procs) - 1; i >= 0; i-- {
		e.procs[i].Kill()
	}
	if e.t.Failed() {
		e.logTails()
	}
	if err := e.sweep(); err != nil {
		e.t.Logf("cannot remove test environment %d: %v", e.N, err)
	}
	_ = e.lock.Close()
}
