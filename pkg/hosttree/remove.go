package hosttree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// removeLevels is how deep a removal goes down.
const removeLevels = 16

// ErrMounted is a mount found where a tree was to be removed. Nothing behind it was touched.
var ErrMounted = errors.New("something is mounted there")

// Remove removes a directory, or a file, and all in it. It follows no symbolic link and enters no mount: where one is found
// below, the error is ErrMounted and what is mounted stays whole. What cannot be removed is told, all else is removed. A
// removal that ends with its context is continued by the next. What is not there is no error, and what has a name that no file
// system takes cannot be there.
func Remove(ctx context.Context, path string) error {
	if len(filepath.Base(path)) > unix.NAME_MAX {
		return nil
	}
	parent, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	r := removal{path: path}
	// What fails while other things go is tried again: a disk that is full may lack the space to move a directory.
	for {
		r.gone, r.failed = 0, Errors{}
		if err := r.remove(ctx, int(parent.Fd()), dirent{name: filepath.Base(path)}, 0); err != nil {
			return err
		}
		if err := r.failed.Err(); err == nil || r.gone == 0 {
			return err
		}
	}
}

type removal struct {
	path   string
	top    int // the open directory at path
	dirs   [removeLevels]*dir
	gone   int // entries that were removed or moved
	failed Errors
}

// remove removes one entry and all in it. The error is the context's; what fails is noted.
func (r *removal) remove(ctx context.Context, dirfd int, e dirent, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := error(unix.EISDIR)
	if e.kind != unix.DT_DIR {
		err = unix.Unlinkat(dirfd, e.name, 0)
	}
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(dirfd, e.name, unix.AT_REMOVEDIR)
	}
	switch {
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		if depth == removeLevels {
			r.ended(dirfd, e.name, r.moveUp(dirfd, e.name))
			return nil
		}
		return r.empty(ctx, dirfd, e.name, depth)
	default:
		r.ended(dirfd, e.name, err)
	}
	return nil
}

// ended notes how the removal of one entry ended.
func (r *removal) ended(dirfd int, name string, err error) {
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		r.gone++
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EXDEV):
		r.failed.Add(fmt.Errorf("cannot remove %s: %w", pathOf(r.path, dirfd, name), ErrMounted))
	default:
		r.failed.Add(pathError("remove", r.path, dirfd, name, err))
	}
}

// moveUp moves a directory to the top of the tree, which the removal comes to again. Nothing there is worth a check: a name
// that is taken by an empty directory may be replaced.
func (r *removal) moveUp(dirfd int, name string) error {
	err := unix.Renameat(dirfd, name, r.top, ".removed-"+strconv.FormatUint(rand.Uint64(), 36))
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("cannot move it up: %s", err) // no mount: a file system may refuse to move a directory
	}
	return err
}

// empty removes all that is in a directory, and then that.
func (r *removal) empty(ctx context.Context, dirfd int, name string, depth int) error {
	fd, err := openDir(dirfd, name)
	if err != nil {
		r.ended(dirfd, name, err)
		return nil
	}
	defer unix.Close(fd)
	if depth == 0 {
		r.top = fd
	}
	for {
		before, failed := r.gone, r.failed.count()
		if err := r.pass(ctx, fd, depth); err != nil {
			return err
		}
		err := unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
		full := errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)
		switch {
		case full && r.failed.count() > failed: // and what failed is told
			return nil
		case full && r.gone > before: // what was moved here, or what a file system left out while its directory shrank
			continue
		}
		r.ended(dirfd, name, err)
		return nil
	}
}

// pass removes what a directory has from its beginning to its end.
func (r *removal) pass(ctx context.Context, fd, depth int) error {
	if r.dirs[depth] == nil {
		r.dirs[depth] = &dir{}
	}
	d := r.dirs[depth]
	err := d.use(fd, 0)
	for err == nil {
		e, ok, readErr := d.read()
		if err = readErr; err != nil || !ok {
			break
		}
		if err := r.remove(ctx, fd, e, depth+1); err != nil {
			return err
		}
	}
	if err != nil {
		r.failed.Add(pathError("read", r.path, fd, ".", err))
	}
	return nil
}
