package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

// Check holds a path of the node to the type that a hostPath volume names, and makes what its type says to make.
func Check(path string, t v1.HostPathType) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s is not an absolute path", path)
	}
	want, name := fs.FileMode(0), ""
	switch t {
	case v1.HostPathUnset:
		return nil
	case v1.HostPathDirectoryOrCreate:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		want, name = fs.ModeDir, "a directory"
	case v1.HostPathFileOrCreate:
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o644)
		switch {
		case err == nil:
			f.Close()
		case !errors.Is(err, fs.ErrExist):
			return err
		}
		name = "a file"
	case v1.HostPathDirectory:
		want, name = fs.ModeDir, "a directory"
	case v1.HostPathFile:
		name = "a file"
	case v1.HostPathSocket:
		want, name = fs.ModeSocket, "a socket file"
	case v1.HostPathCharDev:
		want, name = fs.ModeDevice|fs.ModeCharDevice, "a character device"
	case v1.HostPathBlockDev:
		want, name = fs.ModeDevice, "a block device"
	default:
		return fmt.Errorf("hostPath.type %q is unknown", t)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s is not %s: %w", path, name, err)
	}
	if info.Mode().Type() != want {
		return fmt.Errorf("%s is not %s", path, name)
	}
	return nil
}
