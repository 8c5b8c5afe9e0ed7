package hostfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Owner is the group that a tree is given to, and how.
type Owner struct {
	Group      *int64 // nil: nobody
	ReadOnly   bool   // the group may read and not write
	OnMismatch bool   // leave a tree alone whose root already is the group's
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
	if err := o.walk(ctx, root); err != nil {
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

func (o Owner) walk(ctx context.Context, f *os.File) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := o.walkIn(ctx, f); err != nil {
			return err
		}
	}
	if err := unix.Fchownat(int(f.Fd()), "", -1, int(*o.Group), unix.AT_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "chown", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	if err := unix.Chmod(FDPath(f), st.Mode&0o7777|o.mode(&st)); err != nil {
		return &os.PathError{Op: "chmod", Path: f.Name(), Err: err}
	}
	return nil
}

func (o Owner) walkIn(ctx context.Context, dir *os.File) error {
	list, err := os.Open(FDPath(dir))
	if err != nil {
		return err
	}
	names, err := list.Readdirnames(-1)
	if err = errors.Join(err, list.Close()); err != nil {
		return err
	}
	for _, name := range names {
		f, err := OpenEntry(dir, name)
		switch {
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOENT): // another mount, or gone meanwhile
			continue
		case err != nil:
			return err
		}
		err = o.walk(ctx, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
