package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mounted reports whether something is mounted at exactly this path. A path that is not there, and a symbolic link, are
// not mounted.
func Mounted(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.EHOSTDOWN):
		return listed(path) // a mount whose server or device is gone
	case err != nil:
		return false, err
	case info.Mode()&fs.ModeSymlink != 0:
		return false, nil
	}
	mounted, sure, err := mountinfo.MountedFast(path)
	if sure && err == nil {
		return mounted, nil
	}
	return listed(path)
}

func listed(path string) (bool, error) {
	below, err := MountsBelow(path)
	return slices.Contains(below, path), err
}

// MountsBelow lists the mount points at and below a path, the deepest and newest first: the order in which they can be
// undone.
func MountsBelow(path string) ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts below %s: %w", path, err)
	}
	points := make([]string, 0, len(infos))
	for _, m := range infos {
		points = append(points, m.Mountpoint)
	}
	slices.Reverse(points)
	slices.SortStableFunc(points, func(a, b string) int {
		return strings.Count(b, string(filepath.Separator)) - strings.Count(a, string(filepath.Separator))
	})
	return points, nil
}

// UnmountBelow undoes every mount at and below a path. It tries them all and joins the errors.
func UnmountBelow(path string) error {
	points, err := MountsBelow(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range points {
		if err := unix.Unmount(p, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, unmountError(p, err))
		}
	}
	return errors.Join(errs...)
}

// errMountsThere says that a directory cannot be shared as long as there are mounts below it, which would be hidden.
var errMountsThere = errors.New("there are mounts below it already")

// Share lets mounts below a directory reach the containers that have the directory, and those of containers reach the node
// (mountPropagation), as far as each asks for it. Most nodes share all mounts from their boot on: then there is nothing to do.
func Share(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	above, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil {
		return fmt.Errorf("cannot list the mounts above %s: %w", dir, err)
	}
	var on *mountinfo.Info // the newest of the deepest
	for _, m := range above {
		if on == nil || len(m.Mountpoint) >= len(on.Mountpoint) {
			on = m
		}
	}
	if on != nil && strings.Contains(on.Optional, "shared:") {
		return nil
	}
	if on == nil || on.Mountpoint != dir {
		below, err := MountsBelow(dir)
		if err == nil && len(below) > 0 {
			err = fmt.Errorf("cannot share the mounts below %s: %w", dir, errMountsThere)
		}
		if err == nil {
			err = unix.Mount(dir, dir, "", unix.MS_BIND, "")
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cannot share the mounts below %s: %w", dir, err)
	}
	return nil
}

func unmountError(path string, err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("cannot unmount %s: %w (a process still uses it: see `fuser -vm %s`)", path, err, path)
	}
	return fmt.Errorf("cannot unmount %s: %w", path, err)
}
