package subpath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

// dir is where binds are, in a pod's directory.
const dir = "volume-subpaths"

// Mount is one use of a part of a volume.
type Mount struct {
	Volume    string // name
	Root      string // where its content is on the host
	Container string
	Index     int    // of the container's volumeMounts
	Path      string // in the volume, relative
}

// Bind binds what a path names inside a volume to <podDir>/volume-subpaths/<volume>/<container>/<index>. What is
// not there is made as a directory. A place that is bound already is bound again only if the path has come to name
// another file, as it does when a configMap was updated.
func Bind(ctx context.Context, podDir string, m Mount) (string, error) {
	if err := check(m.Path); err != nil {
		return "", err
	}
	if err := hostfs.CheckComponent(m.Container); err != nil {
		return "", err
	}
	source, err := open(m.Root, path.Clean(m.Path))
	if err != nil {
		return "", err
	}
	defer source.Close()
	target := filepath.Join(podDir, dir, m.Volume, m.Container, strconv.Itoa(m.Index))
	bound, err := hostfs.Mounted(target)
	if err != nil {
		return "", err
	}
	if bound {
		if sameFile(source, target) {
			return target, nil
		}
		if err := hostfs.UnmountBelow(target); err != nil {
			return "", err
		}
	}
	if err := makeTarget(ctx, source, target); err != nil {
		return "", hostfs.Explain(err)
	}
	if err := unix.Mount(hostfs.FDPath(source), target, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("cannot bind it to %s: %w", target, err)
	}
	return target, nil
}

func check(sub string) error {
	if !filepath.IsLocal(sub) {
		return errors.New("it must be a relative path without \"..\"")
	}
	return nil
}

// open opens a path beneath a volume, making the directories that are missing with the mode of the volume's own.
func open(volumePath, sub string) (*os.File, error) {
	f, err := hostfs.OpenBeneath(volumePath, sub)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	root, err := os.OpenRoot(volumePath)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return nil, err
	}
	if err := makeBeneath(root, sub, info.Mode()&(fs.ModePerm|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return nil, hostfs.Explain(fmt.Errorf("cannot make the directory: %w", err))
	}
	return hostfs.OpenBeneath(volumePath, sub)
}

// makeBeneath is mkdir -p with an exact mode: the umask does not apply to what is made.
func makeBeneath(root *os.Root, sub string, mode fs.FileMode) error {
	if parent := path.Dir(sub); parent != "." {
		if err := makeBeneath(root, parent, mode); err != nil {
			return err
		}
	}
	switch err := root.Mkdir(sub, mode.Perm()); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return root.Chmod(sub, mode)
}

func makeTarget(ctx context.Context, source *os.File, target string) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if old, err := os.Lstat(target); err == nil && old.IsDir() == info.IsDir() && (old.IsDir() || old.Mode().IsRegular()) {
		return nil
	}
	if err := hosttree.Remove(ctx, target); err != nil {
		return err
	}
	if info.IsDir() {
		return os.Mkdir(target, 0o750)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

func sameFile(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// Sources lists the directories of a volume that are bound, by their path in its file system.
func Sources(podDir, volume string) ([]string, error) {
	all := filepath.Join(podDir, dir, volume)
	if _, err := os.Lstat(all); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(all))
	if err != nil {
		return nil, fmt.Errorf("cannot list the subPaths of the volume: %w", err)
	}
	var out []string
	for _, m := range mounts {
		if info, err := os.Lstat(m.Mountpoint); err == nil && info.IsDir() {
			out = append(out, m.Root)
		}
	}
	return out, nil
}

// Undo undoes the binds of some volumes in every container.
func Undo(ctx context.Context, podDir string, of func(volume string) bool) error {
	all := filepath.Join(podDir, dir)
	dirs, err := os.ReadDir(all)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, d := range dirs {
		if volume := filepath.Join(all, d.Name()); of(d.Name()) {
			errs = append(errs, hostfs.UnmountBelow(volume), hosttree.Remove(ctx, volume))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot undo the subPaths of the volume: %w", err)
	}
	return nil
}
