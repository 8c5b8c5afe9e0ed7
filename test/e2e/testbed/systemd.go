package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// SystemdNode is a Debian machine in a container: systemd 252 as PID 1 on the host's kernel, with containerd 1.6 as a
// service, a network namespace of its own, and cgroups below the Env's. hack/testbed/build makes its root file system; every
// node has a fresh copy.
type SystemdNode struct {
	Name string // its host name
	IP   string // its address on the Env's bridge; empty: it has nothing but loopback
	Root string // its file system as the host sees it, for files that are put there or read

	e      *Env
	nspawn *Process
	leader int      // systemd's pid on the host
	groups []string // the root of its cgroup namespace in each hierarchy
}

// testbedDir is where hack/testbed/build builds: $MINIKUBELET_TESTBED, else beside the tools.
func testbedDir() string {
	if dir := os.Getenv("MINIKUBELET_TESTBED"); dir != "" {
		return dir
	}
	return filepath.Join(filepath.Dir(ToolsDir()), "testbed")
}

// SystemdNode boots a node that has no network and waits until systemd has started everything.
func (e *Env) SystemdNode() *SystemdNode {
	e.t.Helper()
	return e.bootSystemd("node1", "")
}

// NetworkedNode is SystemdNode with a name and an address on the Env's bridge, the last number of which is given: nodes of
// one Env reach each other, and the test reaches them.
func (e *Env) NetworkedNode(name string, last int) *SystemdNode {
	e.t.Helper()
	return e.bootSystemd(name, fmt.Sprintf("10.241.%d.%d", e.N, last))
}

func (e *Env) bootSystemd(name, ip string) *SystemdNode {
	e.t.Helper()
	bed := testbedDir()
	build := exec.Command(filepath.Join(RepoRoot(e.t), "hack", "testbed", "build")) // a minute or two, the first time
	must[string](e.t, "build the file system of a systemd node")(output(build, ""))
	n := &SystemdNode{e: e, Name: name, IP: ip, Root: e.Path(name, "root")}
	err := n.mountRoot(filepath.Join(bed, "rootfs"))
	if err == nil {
		err = os.WriteFile(filepath.Join(n.Root, "etc/hostname"), []byte(name+"\n"), 0o644)
	}
	if err != nil {
		e.t.Fatalf("cannot mount the node's file system: %v", err)
	}
	n.groups = must[[]string](e.t, "make the node's cgroups")(n.makeCgroups())
	n.boot()
	e.t.Cleanup(n.tellJournal)
	return n
}

// boot starts systemd and waits until it has started everything.
func (n *SystemdNode) boot() {
	n.e.t.Helper()
	bed := testbedDir()
	// What overlayfs may not have as its upper layer is itself: containerd's state is on the host's file system.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"`, "nspawn"},
		append(slices.Clone(n.groups), "--", filepath.Join(bed, "nspawn/usr/bin/systemd-nspawn"), "--quiet", "--directory="+n.Root, "--boot",
			"--machine="+n.e.Bridge()+n.Name, "--register=no", "--keep-unit", "--capability=all", n.network(),
			"--system-call-filter=@keyring bpf @mount @privileged @module",
			"--bind="+filepath.Join(n.e.Dir, n.Name, "containerd")+":/var/lib/containerd")...)...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(bed, "nspawn/usr/lib/x86_64-linux-gnu/systemd"))
	n.leader = 0
	n.nspawn = n.e.Start("nspawn-"+n.Name, cmd)
	Eventually(n.e.t, 60*time.Second, "the node has booted", n.booted)
	n.allowWrites()
	if n.IP != "" {
		n.Must("ip", "address", "add", n.IP+"/24", "dev", "host0")
		n.Must("ip", "link", "set", "host0", "up")
	}
}

// network is nspawn's option: with an address, the end of a veth is on the Env's bridge and the other is the node's host0.
func (n *SystemdNode) network() string {
	if n.IP == "" {
		return "--private-network"
	}
	return "--network-bridge=" + n.e.Bridge()
}

// Reboot shuts the node down in order and boots it again, with the same file system.
func (n *SystemdNode) Reboot() {
	n.e.t.Helper()
	n.Must("systemctl", "poweroff")
	Eventually(n.e.t, 60*time.Second, "the node is off", func() error {
		if n.nspawn.Running() {
			return errors.New("it still runs")
		}
		return nil
	})
	n.boot()
}

// tellJournal shows what the node's services have said, for a test that failed.
func (n *SystemdNode) tellJournal() {
	n.e.t.Helper()
	if !n.e.t.Failed() || !n.nspawn.Running() {
		return
	}
	journal, err := n.Run("journalctl", "--no-pager", "--output=short-precise", "--lines=150", "--unit=minikubelet", "--unit=kubelet")
	n.e.t.Logf("--- the node's journal (%v)\n%s", err, journal)
}

func (n *SystemdNode) mountRoot(lower string) error {
	base := filepath.Dir(n.Root)
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, dir := range []string{n.Root, upper, work, filepath.Join(base, "containerd")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", n.Root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
}

// makeCgroups makes the cgroup that becomes the root of the node's cgroup namespace, in each hierarchy.
func (n *SystemdNode) makeCgroups() ([]string, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != "cgroup" && i.FSType != "cgroup2", false
	})
	var dirs []string
	errs := []error{err}
	for _, i := range infos {
		parent := filepath.Join(i.Mountpoint, n.e.CgroupRoot())
		dir := filepath.Join(parent, n.Name)
		errs = append(errs, os.MkdirAll(dir, 0o755))
		dirs = append(dirs, dir)
		// A cpuset takes no process before it is given CPUs and memory nodes.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			b, err := os.ReadFile(filepath.Join(i.Mountpoint, file))
			if err != nil || i.FSType != "cgroup" {
				continue
			}
			for _, d := range []string{parent, dir} {
				errs = append(errs, os.WriteFile(filepath.Join(d, file), b, 0o600))
			}
		}
	}
	return dirs, errors.Join(errs...)
}

// booted finds systemd, nspawn's child, and asks it. A node with a unit that failed has booted, too.
func (n *SystemdNode) booted() error {
	if !n.nspawn.Running() {
		n.e.t.Fatalf("systemd-nspawn ended:\n%s", n.nspawn.Output())
	}
	for _, p := range processes() {
		if p.ppid == n.nspawn.Pid() && p.comm == "systemd" {
			n.leader = p.pid
		}
	}
	if n.leader == 0 {
		return errors.New("there is no systemd yet")
	}
	state, err := n.Run("systemctl", "is-system-running")
	if s := strings.TrimSpace(state); s == "running" || s == "degraded" {
		return nil
	}
	return errors.Join(fmt.Errorf("systemd is %q", state), err)
}

// allowWrites gives the node its cgroups: nspawn mounts the hierarchies of version 1 read-only, per mount.
func (n *SystemdNode) allowWrites() {
	n.e.t.Helper()
	points, err := filepath.Glob(filepath.Join(fmt.Sprintf("/proc/%d/root", n.leader), "sys/fs/cgroup/*"))
	if err != nil {
		n.e.t.Fatalf("%v", err)
	}
	names := []string{"/proc/sys", "/sys"}
	for _, p := range points {
		if fi, err := os.Lstat(p); err == nil && fi.Mode()&fs.ModeSymlink == 0 && !strings.HasSuffix(p, "systemd") && !strings.HasSuffix(p, "unified") {
			names = append(names, filepath.Join("/sys/fs/cgroup", filepath.Base(p)))
		}
	}
	for _, name := range names {
		n.Must("mount", "-o", "remount,bind,rw", name)
	}
}

// Run runs a program on the node, in all of its namespaces.
func (n *SystemdNode) Run(args ...string) (string, error) {
	in := []string{"-t", strconv.Itoa(n.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"}
	return runOut("nsenter", append(in, args...)...)
}

// FromHost runs a program of the host in the node's network.
func (n *SystemdNode) FromHost(args ...string) (string, error) {
	return runOut("nsenter", append([]string{"-t", strconv.Itoa(n.leader), "-n", "--"}, args...)...)
}

// Must is Run of a program that must succeed.
func (n *SystemdNode) Must(args ...string) string {
	n.e.t.Helper()
	return must[string](n.e.t, "run on the node")(n.Run(args...))
}

// Install copies a file of the host to the node.
func (n *SystemdNode) Install(from, to string, mode fs.FileMode) {
	n.e.t.Helper()
	n.Write(to, string(must[[]byte](n.e.t, "read what is installed")(os.ReadFile(from))), mode)
}

// Write writes a file on the node, with its directories. It appears whole, as a person's editor or installer would.
func (n *SystemdNode) Write(to, content string, mode fs.FileMode) {
	n.e.t.Helper()
	path := fmt.Sprintf("/proc/%d/root%s", n.leader, to)
	temp := filepath.Join(fmt.Sprintf("/proc/%d/root/tmp", n.leader), filepath.Base(to))
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(temp, []byte(content), mode))
	if err == nil {
		_, err = n.Run("mv", "/tmp/"+filepath.Base(to), to)
	}
	if err != nil {
		n.e.t.Fatalf("cannot write %s on the node: %v", to, err)
	}
}
