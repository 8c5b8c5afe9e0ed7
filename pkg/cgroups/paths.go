package cgroups

import (
	"fmt"
	"os"
	"strings"
)

// NodePath is the cgroup of all pods, below the root of each hierarchy.
func (t *Tree) NodePath() string { return t.drv.path(t.node) }

// ClassPaths are the cgroups of the classes that have one of their own.
func (t *Tree) ClassPaths() (out []string) {
	for _, class := range limitedClasses {
		out = append(out, t.drv.path(t.node.child(qosName(class))))
	}
	return out
}

// Of is the cgroup of a process, "" when it has none of its own: it is in the root, or memory and CPU are counted in
// different ones.
func (t *Tree) Of(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("cannot find the cgroup of process %d: %w", pid, err)
	}
	return ownPath(string(b), t.v2), nil
}

// ownPath reads /proc/<pid>/cgroup, whose lines are number:controllers:path.
func ownPath(lines string, v2 bool) string {
	wanted := []string{"cpuacct", "memory"}
	if v2 {
		wanted = []string{""}
	}
	paths := map[string]string{}
	for line := range strings.Lines(lines) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		for c := range strings.SplitSeq(controllers, ",") {
			paths[c] = path
		}
	}
	path := paths[wanted[0]]
	for _, c := range wanted {
		if paths[c] != path {
			return ""
		}
	}
	if path == "/" || strings.HasPrefix(path, "/..") { // outside of what is mounted here
		return ""
	}
	return path
}
