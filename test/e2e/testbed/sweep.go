package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sweep removes everything that an Env can leave on the machine, whoever made it: processes, mounts, network, cgroups,
// files. It is the end of every test, and the beginning of one that finds the remains of another.
func (e *Env) sweep() error {
	for range 100 { // shims start processes while they are being killed
		pids := e.pids()
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(pollInterval)
	}
	errs := []error{e.unmountAll(), e.unplug()}
	if link, err := netlink.LinkByName(e.Bridge()); err == nil {
		errs = append(errs, netlink.LinkDel(link))
	}
	errs = append(errs, e.removeHostPorts(), e.removeCgroups(), e.removeLogLinks(), os.RemoveAll(e.Dir))
	return errors.Join(errs...)
}

// removeLogLinks removes the links by which log shippers find the Env's container logs: their place is the machine's.
func (e *Env) removeLogLinks() error {
	links, err := filepath.Glob("/var/log/containers/*")
	errs := []error{err}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, e.Dir+"/") {
			errs = append(errs, os.Remove(link))
		}
	}
	return errors.Join(errs...)
}

// pids are the processes of this Env: those that it started, its containerd's shims, what is in its cgroups, and the
// descendants of all of these.
func (e *Env) pids() []int {
	children := map[int][]int{}
	var roots []int
	for _, p := range processes() {
		children[p.ppid] = append(children[p.ppid], p.pid)
		if e.owns(p) {
			roots = append(roots, p.pid)
		}
	}
	for _, dir := range e.cgroupDirs() {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				b, _ := os.ReadFile(path)
				for f := range strings.FieldsSeq(string(b)) {
					if pid, err := strconv.Atoi(f); err == nil {
						roots = append(roots, pid)
					}
				}
			}
			return nil
		})
	}
	var all []int
	for len(roots) > 0 {
		pid := roots[0]
		roots = roots[1:]
		if pid <= 1 || pid == os.Getpid() || slices.Contains(all, pid) {
			continue
		}
		all = append(all, pid)
		roots = append(roots, children[pid]...)
	}
	return all
}

func (e *Env) owns(p process) bool {
	if started, err := os.ReadFile(filepath.Join(e.Dir, "pid", strconv.Itoa(p.pid))); err == nil {
		return string(started) == p.started
	}
	if !strings.HasPrefix(p.comm, "containerd-shim") {
		return false
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	return bytes.Contains(cmdline, []byte(e.Dir+"/"))
}

type process struct {
	pid, ppid int
	comm      string
	started   string // in clock ticks since boot: with the pid, an identity
}

func processes() []process {
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []process
	for _, path := range dirs {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		if p, ok := parseStat(string(b)); ok {
			all = append(all, p)
		}
	}
	return all
}

// parseStat reads proc(5)'s stat; the command name, in parentheses, may itself hold spaces and parentheses. A zombie is
// no process here: it waits for its parent alone.
func parseStat(s string) (process, bool) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(s[end+1:])
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(s[:open]))
	ppid, err2 := strconv.Atoi(fields[1])
	return process{pid: pid, ppid: ppid, comm: s[open+1 : end], started: fields[19]}, err1 == nil && err2 == nil
}

func (e *Env) mounts() ([]string, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(i.Mountpoint, e.Dir+"/"), false
	})
	var points []string
	for _, i := range infos {
		points = append(points, i.Mountpoint)
	}
	return points, err
}

func (e *Env) unmountAll() error {
	points, err := e.mounts()
	errs := []error{err}
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("cannot unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// cgroupDirs are the Env's cgroups: one in each hierarchy of version 1, or the one of version 2.
func (e *Env) cgroupDirs() []string {
	infos, _ := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != "cgroup" && i.FSType != "cgroup2", false
	})
	var dirs []string
	for _, i := range infos {
		dir := filepath.Join(i.Mountpoint, e.CgroupRoot())
		if _, err := os.Stat(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func (e *Env) removeCgroups() error {
	var errs []error
	for _, root := range e.cgroupDirs() {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			errs = append(errs, poll(3*time.Second, func() error {
				if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return nil
			}))
		}
	}
	return errors.Join(errs...)
}
