package hostfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenBeneath opens, O_PATH, what a relative path names beneath a directory. Links inside are followed as long as they
// stay beneath it; a path that leaves it, by "..", by an absolute link or by a magic link of /proc, is refused.
func OpenBeneath(dir, name string) (*os.File, error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fd, err := openat2(int(d.Fd()), name, unix.O_PATH, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	switch {
	case errors.Is(err, unix.EXDEV):
		return nil, fmt.Errorf("%s leads out of %s", name, dir)
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir, name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, name)), nil
}

func openat2(dirfd int, name string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for {
		fd, err := unix.Openat2(dirfd, name, &how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // EAGAIN: a rename raced with the walk
			continue
		case errors.Is(err, unix.ENOSYS):
			return -1, fmt.Errorf("openat2: %w (Linux 5.6 or newer is needed)", err)
		}
		return fd, err
	}
}

// CheckComponent refuses a name that is not one plain component of a path.
func CheckComponent(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"), len(name) > 255:
		return fmt.Errorf("%q is not fit for a file name", name)
	}
	return nil
}

// FDPath names an open file by its descriptor: for system calls that take no descriptor.
func FDPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// OpenEntry opens, O_PATH, one entry of an open directory: a link itself and not what it names. An entry that is a mount
// point is EXDEV.
func OpenEntry(dir *os.File, name string) (*os.File, error) {
	if err := CheckComponent(name); err != nil {
		return nil, err
	}
	fd, err := openat2(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

// MakeDir makes a directory and its parents, and gives it exactly this mode. A symbolic link in its place is an error.
func MakeDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return Explain(fmt.Errorf("cannot make the volume's directory: %w", err))
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cannot make the volume's directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("cannot use %s: it is not a directory (remove it)", path)
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("cannot set the mode of the volume's directory: %w", err)
	}
	return nil
}
