package cgroups

import (
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// name is a cgroup's place as a list of plain components below the hierarchy's root: kubepods, burstable, pod1234.
type name []string

// cgroupfs is the name as a path.
func (n name) cgroupfs() string { return "/" + path.Join(n...) }

// slice is the name of the name's own systemd slice: each component is joined to its parents by a dash, and dashes of
// its own become underscores, as a dash separates levels (systemd.slice(5)).
func (n name) slice() string {
	escaped := make([]string, len(n))
	for i, c := range n {
		escaped[i] = strings.ReplaceAll(c, "-", "_")
	}
	return strings.Join(escaped, "-") + ".slice"
}

// systemd is the name as the path that systemd gives its slice.
func (n name) systemd() string {
	p := "/"
	for i := range n {
		p = path.Join(p, n[:i+1].slice())
	}
	return p
}

func (n name) child(c string) name {
	return append(n[:len(n):len(n)], c)
}

// parseRoot makes a name of a cgroupRoot: "/", "/a/b" or, in systemd's form, "/a.slice/a-b.slice".
func parseRoot(root string) (name, error) {
	var n name
	for _, c := range strings.Split(path.Clean("/"+root), "/") {
		if c == "" {
			continue
		}
		if s, ok := strings.CutSuffix(c, ".slice"); ok {
			c = s[strings.LastIndex(s, "-")+1:]
		}
		n = append(n, c)
	}
	if strings.Contains(root, "..") {
		return nil, fmt.Errorf("cgroup root %q has .. in it: give a path without", root)
	}
	return n, nil
}

// qosName is the directory of a class below kubepods; guaranteed pods lie in kubepods itself.
func qosName(class v1.PodQOSClass) string {
	switch class {
	case v1.PodQOSBurstable:
		return "burstable"
	case v1.PodQOSBestEffort:
		return "besteffort"
	}
	return ""
}

const podPrefix = "pod"

// podName checks that a UID can be part of a path and makes a pod's last component.
func podName(uid types.UID) (string, error) {
	if uid == "" || len(uid) > 128 {
		return "", fmt.Errorf("pod UID %q has %d characters: it must have 1 to 128", uid, len(uid))
	}
	for _, r := range uid {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return "", fmt.Errorf("pod UID %q must have only letters, digits, - and _", uid)
		}
	}
	return podPrefix + string(uid), nil
}

// uidOf reads a pod's UID from the last element of its cgroup's path. The underscores that systemd's names have for
// dashes become dashes again: a UID that has underscores of its own cannot be told, and none that Kubernetes makes has.
func uidOf(base string) (types.UID, bool) {
	slice, systemd := strings.CutSuffix(base, ".slice")
	if systemd {
		base = slice[strings.LastIndex(slice, "-")+1:]
	}
	uid, ok := strings.CutPrefix(base, podPrefix)
	if !ok || uid == "" || uid == "s" {
		return "", false
	}
	if systemd {
		uid = strings.ReplaceAll(uid, "_", "-")
	}
	return types.UID(uid), true
}
