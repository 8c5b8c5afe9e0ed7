package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dirMode lets log shippers that are not root find the logs.
const dirMode = 0o755

// MakeDir makes a directory below root, and those between: MakeDir("/var/log/pods", "ns_pod_uid", "container"). CRI leaves
// that to the runtime's client. A pod may be able to write below root, so that no link is followed there: one in the place of
// a directory is an error. Root itself is the configuration's and may be a link.
func MakeDir(root string, names ...string) error {
	if err := os.MkdirAll(root, dirMode); err != nil {
		return fmt.Errorf("cannot make the directory of logs: %w", err)
	}
	dir, err := os.Open(root)
	if err != nil {
		return fmt.Errorf("cannot make a log directory: %w", err)
	}
	defer func() { dir.Close() }()
	for _, name := range names {
		next, err := enter(dir, name)
		if err != nil {
			return err
		}
		dir.Close()
		dir = next
	}
	return nil
}

// enter opens a directory in another, which it makes if need be.
func enter(dir *os.File, name string) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	if name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("cannot make log directory %s: %q is not a file name", path, name)
	}
	made := unix.Mkdirat(int(dir.Fd()), name, dirMode)
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return nil, fmt.Errorf("cannot make log directory %s: %w", path, made)
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("cannot use log directory %s: there is a file or a link in its place: remove it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open log directory %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if made == nil { // whatever the umask
		if err := f.Chmod(dirMode); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot make log directory %s: %w", path, err), f.Close())
		}
	}
	return f, nil
}
