package volumes

import (
	"context"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
)

// givenFiles are the files that the agent or the runtime mounts into every container.
func givenFiles(c *v1.Container) []string {
	files := []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
	if c.TerminationMessagePath != "" {
		files = append(files, absolute(c.TerminationMessagePath))
	}
	return files
}

// absolute is where a path of a container leads to.
func absolute(p string) string { return path.Join("/", p) }

// point is a place in a volume where a container has something else mounted.
type point struct {
	outer int    // index of the volumeMount that it lies in
	inner int    // index of the one that is mounted there; -1: a file that every container is given
	path  string // relative to the outer mount
}

// points finds the mounts of a container that lie in other mounts of its, each in the nearest one.
func points(c *v1.Container) []point {
	var out []point
	add := func(inner int, at string) {
		if outer := enclosing(c, at); outer >= 0 {
			out = append(out, point{outer, inner, strings.TrimPrefix(at, strings.TrimSuffix(absolute(c.VolumeMounts[outer].MountPath), "/")+"/")})
		}
	}
	for i := range c.VolumeMounts {
		add(i, absolute(c.VolumeMounts[i].MountPath))
	}
	for _, file := range givenFiles(c) {
		if !slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool { return absolute(m.MountPath) == file }) {
			add(-1, file)
		}
	}
	return out
}

// enclosing is the index of the nearest mount that a path of a container lies in, or -1.
func enclosing(c *v1.Container, at string) int {
	found, longest := -1, ""
	for i := range c.VolumeMounts {
		p := strings.TrimSuffix(absolute(c.VolumeMounts[i].MountPath), "/") + "/"
		if strings.HasPrefix(at, p) && len(p) > len(longest) {
			found, longest = i, p
		}
	}
	return found
}

// pointsIn counts how many containers have a mount point at each path of a volume. What lies in a part of the volume that is
// mounted by subPath has its mount point in that part.
func pointsIn(p *v1.Pod, volume string) map[string]int {
	count := map[string]int{}
	for _, c := range pod.Spec(p) {
		for _, pt := range points(c) {
			if m := &c.VolumeMounts[pt.outer]; m.Name == volume && !partial(m) {
				count[pt.path]++
			}
		}
	}
	return count
}

func partial(m *v1.VolumeMount) bool { return m.SubPathExpr != "" || path.Clean(m.SubPath) != "." }

// makePoints makes the mount points of a container in volumes that it may only read: a runtime cannot make them there.
func (o mounting) makePoints(ctx context.Context, mounts []Mount) error {
	for _, pt := range points(o.container) {
		vm := &o.container.VolumeMounts[pt.outer]
		if vol := volumeOf(o.pod, vm.Name); vol == nil || !content.Has(vol) {
			continue
		}
		if err := o.makePoint(ctx, vm, pt, mounts); err != nil {
			return err
		}
	}
	return nil
}

func (o mounting) makePoint(ctx context.Context, outer *v1.VolumeMount, pt point, mounts []Mount) error {
	release, err := o.ledger.hold(ctx, outer.Name)
	if err != nil {
		return err
	}
	defer release()
	p := hostfs.Point{Path: pt.path, Dir: pt.inner >= 0 && mountsDir(mounts[pt.inner])}
	if partial(outer) {
		return hostfs.MakePoint(mounts[pt.outer].HostPath, p, nil)
	}
	all := pointsIn(o.pod, outer.Name)
	p.Shared = all[pt.path] > 1
	return hostfs.MakePoint(o.ledger.get(outer.Name).Path, p, slices.Sorted(maps.Keys(all)))
}

// mountsDir reports whether a mount is of a directory. Runtimes make what is not there as one.
func mountsDir(m Mount) bool {
	if m.Image != nil {
		return true
	}
	info, err := os.Stat(m.HostPath)
	return err != nil || info.IsDir()
}
