package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// delegated are the controllers of v2 that containers get where the node has them.
var delegated = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}

// cgroupfs is the driver that writes to the cgroup file systems itself.
type cgroupfs struct{ *Tree }

func (d *cgroupfs) path(n name) string { return n.cgroupfs() }

func (d *cgroupfs) release(name) error { return nil }

func (d *cgroupfs) create(n name, v resources.CgroupValues) error {
	for _, h := range d.all {
		if !d.v2 && !h.limits() {
			continue
		}
		dir := filepath.Join(h.dir, n.cgroupfs())
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, os.ErrNotExist) {
			err = d.parents(h, n, dir)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if d.v2 && len(n) <= len(d.node)+1 { // the pods' own children are made by the runtime, which delegates to them
		d.delegate(filepath.Join(mountRoot, n.cgroupfs()))
	}
	return d.set(n, v)
}

// parents makes a cgroup whose parents are missing.
func (d *cgroupfs) parents(h hierarchy, n name, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range n {
		if d.v2 {
			d.delegate(filepath.Join(h.dir, n[:i].cgroupfs()))
		}
	}
	return nil
}

// delegate enables the controllers of v2 for the children of a cgroup. What cannot be enabled is a warning: the limits
// that need it are missing.
func (d *cgroupfs) delegate(dir string) {
	has, err1 := cgroups.ReadFile(dir, "cgroup.controllers")
	on, err2 := cgroups.ReadFile(dir, "cgroup.subtree_control")
	if err := errors.Join(err1, err2); err != nil {
		d.warn(dir, err)
		return
	}
	available, enabled := strings.Fields(has), strings.Fields(on)
	for _, c := range delegated {
		if !slices.Contains(available, c) || slices.Contains(enabled, c) {
			continue
		}
		err := cgroups.WriteFile(dir, "cgroup.subtree_control", "+"+c)
		if errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("%w: cgroup %s has processes of its own: move them into a child, or set cgroupRoot", err, dir)
		}
		if err != nil {
			d.warn(c, err)
		}
	}
}

// setting is one value in one file.
type setting struct{ controller, file, value string }

func (d *cgroupfs) set(n name, v resources.CgroupValues) error {
	settings := settingsV1(v)
	if d.v2 {
		settings = settingsV2(v)
	}
	for _, s := range settings {
		base := d.RootDir(s.controller)
		if base == "" {
			continue // told by New
		}
		err := cgroups.WriteFile(filepath.Join(base, n.cgroupfs()), s.file, s.value)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, os.ErrNotExist):
			d.warn(s.file, err)
		default:
			return fmt.Errorf("cannot set %s to %s: %w", s.file, s.value, err)
		}
	}
	return nil
}

func settingsV1(v resources.CgroupValues) (s []setting) {
	if v.CPUShares != 0 {
		s = append(s, setting{"cpu", "cpu.shares", strconv.FormatInt(v.CPUShares, 10)})
	}
	if v.CPUQuota != 0 {
		if v.CPUPeriod != resources.DefaultCPUPeriod.Microseconds() {
			s = append(s, setting{"cpu", "cpu.cfs_period_us", strconv.FormatInt(v.CPUPeriod, 10)})
		}
		s = append(s, setting{"cpu", "cpu.cfs_quota_us", strconv.FormatInt(v.CPUQuota, 10)})
	}
	if v.Memory != 0 {
		s = append(s, setting{"memory", "memory.limit_in_bytes", strconv.FormatInt(v.Memory, 10)})
	}
	if v.PIDs != 0 {
		s = append(s, setting{"pids", "pids.max", strconv.FormatInt(v.PIDs, 10)})
	}
	return append(s, hugeSettings(v, ".limit_in_bytes")...)
}

// hugeSettings limit the pages of each size.
func hugeSettings(v resources.CgroupValues, file string) (s []setting) {
	for _, size := range slices.Sorted(maps.Keys(v.HugePages)) {
		s = append(s, setting{"hugetlb", "hugetlb." + resources.PageSize(size) + file, strconv.FormatInt(v.HugePages[size], 10)})
	}
	return s
}

func settingsV2(v resources.CgroupValues) (s []setting) {
	if v.CPUShares != 0 {
		s = append(s, setting{"cpu", "cpu.weight", strconv.FormatInt(resources.CPUWeight(v.CPUShares), 10)})
	}
	if v.CPUQuota != 0 {
		s = append(s, setting{"cpu", "cpu.max", fmt.Sprintf("%d %d", v.CPUQuota, v.CPUPeriod)})
	}
	if v.Memory != 0 {
		s = append(s, setting{"memory", "memory.max", strconv.FormatInt(v.Memory, 10)})
	}
	if v.PIDs != 0 {
		s = append(s, setting{"pids", "pids.max", strconv.FormatInt(v.PIDs, 10)})
	}
	return append(s, hugeSettings(v, ".max")...)
}

// removeTree removes a cgroup and the empty ones below it, the deepest first.
func removeTree(dir string) error {
	err := rmdir(dir)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	entries, readErr := os.ReadDir(dir)
	if errors.Is(readErr, os.ErrNotExist) {
		return nil // a file system that is read-only refuses before it looks
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err = rmdir(dir)
	switch {
	case err == nil || errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, unix.EBUSY):
		pids, _ := cgroups.GetPids(dir)
		return fmt.Errorf("%w: %s: %v", ErrBusy, dir, pids)
	}
	return err
}

func rmdir(dir string) error {
	for {
		if err := unix.Rmdir(dir); err != unix.EINTR {
			return err
		}
	}
}
