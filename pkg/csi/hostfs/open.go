package hostfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

// OpenBeneath opens, O_PATH, what a relative path names beneath a directory. Links inside are followed as long as they
// stay beneath it; a path that leaves it, by "..", by an absolute link or by a magic link of /proc, is refused.
func OpenBeneath(dir, name string) (*os.File, error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fd, err := hosttree.Openat2(int(d.Fd()), name, unix.O_PATH, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	switch {
	case errors.Is(err, unix.EXDEV):
		return nil, fmt.Errorf("%s leads out of %s", name, dir)
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir, name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, name)), nil
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
func FDPath(f *os.File) string { return fdPath(int(f.Fd())) }

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

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
