package hostfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

// Owner is the group that a tree is given to, and how.
type Owner struct {
	Group      *int64      // nil: nobody
	ReadOnly   bool        // the group may read and not write
	OnMismatch bool        // leave a tree alone whose root already is the group's
	Refused    func(error) // told of each file that does not change, which is left; nil: the first one is an error
}

func (o Owner) refused(op string, path func() string, err error) error {
	if err == nil {
		return nil
	}
	err = &os.PathError{Op: op, Path: path(), Err: err}
	if o.Refused == nil {
		return err
	}
	o.Refused(err)
	return nil
}

// Own gives a tree to a group: the group owns every file and may read, and write unless ReadOnly; directories pass the
// group on. The root comes last, so that an interrupted walk is seen as a mismatch. It follows no link and stays on the
// mount.
func Own(ctx context.Context, path string, o Owner) error {
	if o.Group == nil {
		return nil
	}
	root, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("cannot apply fsGroup: %w", err)
	}
	defer root.Close()
	if o.OnMismatch {
		var st unix.Stat_t
		if err := unix.Fstat(int(root.Fd()), &st); err != nil {
			return fmt.Errorf("cannot apply fsGroup: %w", err)
		}
		want := o.mode(&st)
		if int64(st.Gid) == *o.Group && st.Mode&want == want {
			return nil
		}
	}
	err = hosttree.Walk(ctx, path, func(e hosttree.Entry) error {
		f, err := hosttree.Openat2(e.Dir, e.Name, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV)
		switch {
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOENT): // another mount, or gone meanwhile
			return fs.SkipDir
		case err != nil:
			return &os.PathError{Op: "open", Path: e.Path(), Err: err}
		}
		defer unix.Close(f)
		return o.give(f, e.Path)
	})
	if err == nil {
		err = o.give(int(root.Fd()), root.Name)
	}
	if err != nil {
		return Explain(fmt.Errorf("cannot apply fsGroup: %w", err))
	}
	return nil
}

// mode is the bits that a file of the group must have.
func (o Owner) mode(st *unix.Stat_t) uint32 {
	bits := uint32(0o660)
	if o.ReadOnly {
		bits = 0o440
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		bits |= unix.S_ISGID | 0o110
	}
	return bits
}

// give gives one open file to the group. path names it in an error.
func (o Owner) give(fd int, path func() string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path(), Err: err}
	}
	if err := o.refused("chown", path, unix.Fchownat(fd, "", -1, int(*o.Group), unix.AT_EMPTY_PATH)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	return o.refused("chmod", path, unix.Chmod(fdPath(fd), st.Mode&0o7777|o.mode(&st)))
}
