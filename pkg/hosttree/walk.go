package hosttree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	// openLevels is how many levels of a walk stay open.
	openLevels = 8
	// maxLevels is how deep a walk goes: eight times as deep as a path can name.
	maxLevels = 1 << 14
)

// ErrTooDeep is a tree that is nested deeper than a walk goes. All that is less deep was visited.
var ErrTooDeep = fmt.Errorf("directories are nested more than %d deep", maxLevels)

// Entry is what a walk has come to. It is valid until the visit returns.
type Entry struct {
	Dir  int // descriptor of the directory that it is in
	Name string
	root string
}

// Path names the entry in an error; a long one is abridged.
func (e Entry) Path() string { return pathOf(e.root, e.Dir, e.Name) }

// Walk visits everything below a directory, directories before what is in them. fs.SkipDir from a visit leaves out what is
// in a directory, any other error ends the walk. Mounts are not entered. What vanishes while it is walked is left out, what
// is moved may be visited twice or never; what cannot be read is left out, and told at the end.
func Walk(ctx context.Context, path string, visit func(Entry) error) error {
	root, err := Openat2(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	w := walk{root: root, path: path}
	defer w.close()
	if err := w.enter(root, "."); err != nil {
		return &fs.PathError{Op: "read", Path: path, Err: err}
	}
	for len(w.levels) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.step(ctx, visit); err != nil {
			return err
		}
	}
	return w.failed.Err()
}

// level is a directory on the way from the root of a walk to where it is.
type level struct {
	dev, ino uint64
	next     int64 // where to read on, once it is closed
}

type walk struct {
	root    int
	path    string
	levels  []level
	open    []*dir // of the innermost levels
	spare   []*dir // closed
	tooDeep bool
	failed  Errors
}

func (w *walk) close() {
	for _, d := range w.open {
		d.close()
	}
	unix.Close(w.root) //nolint:errcheck // only read
}

// step goes on by one entry, or up at the end of a directory.
func (w *walk) step(ctx context.Context, visit func(Entry) error) error {
	d := w.open[len(w.open)-1]
	e, ok, err := d.read()
	if err != nil {
		w.failed.Add(pathError("read", w.path, d.fd, ".", err))
	}
	if err != nil || !ok {
		return w.leave(ctx)
	}
	switch err := visit(Entry{Dir: d.fd, Name: e.name, root: w.path}); {
	case errors.Is(err, fs.SkipDir):
		return nil
	case err != nil:
		return err
	}
	if !e.maybeDir() {
		return nil
	}
	switch err := w.enter(d.fd, e.name); {
	case errors.Is(err, unix.EXDEV): // another mount
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP): // gone or replaced, or no directory
	case errors.Is(err, ErrTooDeep):
		if !w.tooDeep {
			w.failed.Add(fmt.Errorf("%w below %s: remove them", err, w.path))
		}
		w.tooDeep = true
	case err != nil:
		w.failed.Add(pathError("open", w.path, d.fd, e.name, err))
	}
	return nil
}

// enter makes a directory the innermost level. The outermost of the open ones is closed where there are too many.
func (w *walk) enter(dirfd int, name string) error {
	if len(w.levels) == maxLevels {
		return ErrTooDeep
	}
	fd, err := openDir(dirfd, name)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if len(w.open) == openLevels {
		w.levels[len(w.levels)-openLevels].next = w.open[0].next
		w.rest(0)
	}
	w.levels = append(w.levels, level{dev: st.Dev, ino: st.Ino})
	return w.use(fd, 0)
}

// use opens the innermost level for reading.
func (w *walk) use(fd int, from int64) error {
	d := &dir{}
	if n := len(w.spare); n > 0 {
		d, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	w.open = append(w.open, d)
	return d.use(fd, from)
}

// rest closes one of the open levels.
func (w *walk) rest(i int) {
	d := w.open[i]
	d.close()
	w.open = append(w.open[:i], w.open[i+1:]...)
	w.spare = append(w.spare, d)
}

// leave goes back up to where the innermost level was entered from.
func (w *walk) leave(ctx context.Context) error {
	last := len(w.open) - 1
	w.levels = w.levels[:len(w.levels)-1]
	if last > 0 || len(w.levels) == 0 {
		w.rest(last)
		return nil
	}
	want := w.levels[len(w.levels)-1]
	fd, err := unix.Openat(w.open[last].fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	w.rest(last)
	if err == nil && !want.is(fd) {
		unix.Close(fd)
		err = unix.ESTALE
	}
	if err != nil { // moved or removed meanwhile
		if fd, err = w.find(ctx); err != nil {
			return err
		}
	}
	if err := w.use(fd, w.levels[len(w.levels)-1].next); err != nil {
		return pathError("read", w.path, fd, ".", err)
	}
	return nil
}

// is reports whether an open directory is the one of the level.
func (l level) is(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Dev == l.dev && st.Ino == l.ino
}

// find goes down from the root again, as far as the levels of the walk are still where they were, and forgets the others.
func (w *walk) find(ctx context.Context) (int, error) {
	fd, err := openDir(w.root, ".")
	if err != nil {
		return -1, pathError("open", w.path, w.root, ".", err)
	}
	for i, l := range w.levels[1:] {
		below, err := w.child(ctx, fd, l)
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		if below < 0 {
			w.levels = w.levels[:i+1]
			break
		}
		unix.Close(fd)
		fd = below
	}
	return fd, nil
}

// child opens the directory of a level in the one that it was entered from; -1 when it is not there any more.
func (w *walk) child(ctx context.Context, dirfd int, want level) (int, error) {
	d := &dir{}
	if err := d.use(dirfd, 0); err != nil {
		return -1, err
	}
	for ctx.Err() == nil {
		e, ok, err := d.read()
		if err != nil || !ok {
			return -1, nil // what cannot be read is as good as gone
		}
		if e.ino != want.ino || !e.maybeDir() {
			continue
		}
		fd, err := openDir(dirfd, e.name)
		if err == nil && want.is(fd) {
			return fd, nil
		}
		if err == nil {
			unix.Close(fd)
		}
	}
	return -1, ctx.Err()
}
