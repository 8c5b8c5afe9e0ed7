package cgroups

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

const mountRoot = "/sys/fs/cgroup"

// hierarchy is one mounted tree of cgroups.
type hierarchy struct {
	dir         string   // where it is mounted
	controllers []string // v1: the controllers of this tree; v2: none
}

func (h hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// limits reports whether a tree of v1 has a controller of which limits are set here.
func (h hierarchy) limits() bool {
	return slices.ContainsFunc([]string{"cpu", "memory", "pids", "hugetlb"}, h.has)
}

// hierarchies finds the mounted trees and whether the node is on cgroup v2. In hybrid mode the v2 tree has no limits of
// ours, but runtimes make directories in it.
func hierarchies() (all []hierarchy, v2 bool, err error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, false, fmt.Errorf("cannot read the cgroup mounts: %w", err)
	}
	seen := map[string]bool{}
	for _, m := range mounts {
		if !strings.HasPrefix(m.Mountpoint, mountRoot) || seen[m.Mountpoint] {
			continue // someone's bind mount
		}
		seen[m.Mountpoint] = true
		if m.FSType == "cgroup2" && m.Mountpoint == mountRoot {
			return []hierarchy{{dir: mountRoot}}, true, nil
		}
		h := hierarchy{dir: m.Mountpoint}
		if m.FSType == "cgroup" {
			h.controllers = strings.Split(m.VFSOptions, ",")
		}
		all = append(all, h)
	}
	if len(all) == 0 {
		return nil, false, fmt.Errorf("cannot find any cgroup file system below %s: mount one", mountRoot)
	}
	return all, false, nil
}
