package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
	"k8s.io/utils/exec"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// Mount is what is wanted at a target.
type Mount struct {
	Source   string // directory or block device
	Target   string // a directory that exists; what is mounted there already is taken for it
	FSType   string // of a device; "": ext4
	ReadOnly bool
	Options  []string // of mount(8)
}

// Do mounts. After an error nothing is mounted.
func Do(m Mount) error {
	flags, device, err := options(m)
	if err != nil {
		return err
	}
	info, err := os.Stat(m.Source)
	if err != nil {
		return fmt.Errorf("cannot use the local volume: %w", err)
	}
	mounted, err := hostfs.Mounted(m.Target)
	if err != nil {
		return err
	}
	switch {
	case mounted:
	case info.IsDir():
		if len(device) > 0 {
			return fmt.Errorf("cannot mount directory %s with the options %s: they are of a file system", m.Source, strings.Join(device, ","))
		}
		if err := unix.Mount(filepath.Clean(m.Source), m.Target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot bind %s to %s: %w", m.Source, m.Target, err)
		}
	case isBlock(info):
		if err := mountDevice(m, device); err != nil {
			return err
		}
	default:
		return fmt.Errorf("cannot use the local volume: %s is neither a directory nor a block device", m.Source)
	}
	if flags == 0 {
		return nil
	}
	if err := unix.Mount("", m.Target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return errors.Join(fmt.Errorf("cannot apply the mount options to %s: %w", m.Target, err), hostfs.UnmountBelow(m.Target))
	}
	return nil
}

// MountedElsewhere lists the mounts of what is mounted at target, a local volume's place in a pod's directory, at such places
// of other pods.
func MountedElsewhere(target, pods string) ([]string, error) {
	mine, err := os.Stat(target)
	if err != nil {
		return nil, fmt.Errorf("cannot see what is mounted: %w", err)
	}
	plugin := filepath.Base(filepath.Dir(target))
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(pods))
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts of pods: %w", err)
	}
	var out []string
	for _, m := range mounts {
		if m.Mountpoint == target || filepath.Base(filepath.Dir(m.Mountpoint)) != plugin {
			continue
		}
		if other, err := os.Stat(m.Mountpoint); err == nil && os.SameFile(mine, other) {
			out = append(out, m.Mountpoint)
		}
	}
	return out, nil
}

// IsBlock reports whether a path is a block device.
func IsBlock(path string) bool {
	info, err := os.Stat(path)
	return err == nil && isBlock(info)
}

func isBlock(info fs.FileInfo) bool { return info.Mode().Type() == fs.ModeDevice }

// mountDevice mounts a device, writable: another pod may have it mounted so, and a file system is one or the other.
func mountDevice(m Mount, options []string) error {
	fsType := m.FSType
	if fsType == "" {
		fsType = "ext4"
	}
	mounter := mount.SafeFormatAndMount{Interface: mount.New(""), Exec: exec.New()}
	if err := mounter.FormatAndMount(m.Source, m.Target, fsType, options); err != nil {
		return fmt.Errorf("cannot mount %s as %s: %w", m.Source, fsType, err)
	}
	return nil
}

// options parts what holds for one mount alone from what a file system is mounted with.
func options(m Mount) (flags uintptr, device []string, err error) {
	known := map[string]uintptr{
		"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "noatime": unix.MS_NOATIME,
		"nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME, "nosymfollow": unix.MS_NOSYMFOLLOW,
	}
	if m.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	for _, o := range m.Options {
		switch flag, ok := known[o]; {
		case o == "" || strings.ContainsAny(o, ", \t\n"):
			return 0, nil, fmt.Errorf("mount option %q is none: write one in each element of mountOptions", o)
		case ok:
			flags |= flag
		case o == "rw" || o == "bind" || o == "defaults":
		default:
			device = append(device, o)
		}
	}
	return flags, device, nil
}
