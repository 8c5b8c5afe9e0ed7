package sources

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// file is what one file said when it was last read.
type file struct {
	size     int64
	modified time.Time
	inode    uint64
	objects  []manifest.Object // of its good documents, and of what it said before where it is broken now
	problems []manifest.Problem
	partial  bool      // broken, and never good
	retry    time.Time // when to look again; zero: when something changes
	dir      dirID     // the directory that it was last seen in
	missing  time.Time // since when it is not there; zero: it is there
}

// read looks at one file and reports whether what it says has changed. closed: its writer has just finished it.
func (d *directory) read(name string, closed bool, now time.Time) bool {
	old := d.files[name]
	info, err := os.Stat(d.path(name))
	if isAbsent(err) || err == nil && info.IsDir() {
		return d.absent(name, now)
	}
	next := &file{dir: d.dir}
	if err == nil {
		next.size, next.modified = info.Size(), info.ModTime()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			next.inode = st.Ino
		}
		same := old != nil && len(old.problems) == 0 && old.size == next.size && old.modified.Equal(next.modified) && old.inode == next.inode
		if same && old.retry.IsZero() && !closed {
			old.dir = d.dir
			return false
		}
		if wait := d.unfinished(name, closed, next, now); wait > 0 {
			return d.later(name, now.Add(wait))
		}
	}
	var problems []manifest.Problem
	next.objects, problems = d.decode(name, info, err)
	if age := now.Sub(next.modified); len(problems) > 0 && age >= 0 && age < patient {
		return d.later(name, next.modified.Add(patient))
	}
	return d.replace(name, next, problems)
}

// isAbsent reports whether an error of a path means that nothing is there.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// absent notes that a file is not there. What it says stays in force until it has been away for long enough: editors and
// tools take a file away for a moment to put its successor there.
func (d *directory) absent(name string, now time.Time) bool {
	old := d.files[name]
	switch {
	case old == nil:
		return false
	case len(old.objects) == 0, !old.missing.IsZero() && now.Sub(old.missing) >= d.patience(old):
		delete(d.files, name)
		return true
	}
	f := *old
	if f.missing.IsZero() {
		f.missing = now
	}
	f.retry = f.missing.Add(d.patience(old))
	d.files[name] = &f
	return old.missing.IsZero() // another file may have its objects, and counts from now on
}

// patience is how long a file may be away: longer when its directory is away, or is another one than before.
func (d *directory) patience(f *file) time.Duration {
	if f.dir == d.dir {
		return absentFile
	}
	return absentDirectory
}

// unfinished is how long to wait before a file can be taken as complete.
func (d *directory) unfinished(name string, closed bool, f *file, now time.Time) time.Duration {
	if closed {
		return 0
	}
	if since, ok := d.writing[name]; ok && now.Sub(since) < abandon {
		return abandon - now.Sub(since)
	}
	if age := now.Sub(f.modified); age >= 0 && age < settle {
		return settle - age
	}
	return 0
}

// later leaves a file as it was known and looks at it again at a time, or at the next event.
func (d *directory) later(name string, at time.Time) bool {
	f := &file{partial: true}
	back := false
	if old := d.files[name]; old != nil {
		*f = *old
		back = !old.missing.IsZero()
	}
	f.retry, f.dir, f.missing = at, d.dir, time.Time{}
	d.files[name] = f
	return back
}

func (d *directory) decode(name string, info os.FileInfo, err error) ([]manifest.Object, []manifest.Problem) {
	broken := func(format string, args ...any) ([]manifest.Object, []manifest.Problem) {
		return nil, []manifest.Problem{{Source: d.source, Name: d.path(name), Text: fmt.Sprintf(format, args...)}}
	}
	if err != nil {
		return broken("cannot read it: %v", err)
	}
	if !info.Mode().IsRegular() {
		return broken("not a regular file: remove it from the directory")
	}
	f, err := os.OpenFile(d.path(name), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that was put in its place must not hold the source
	if err != nil {
		return broken("cannot read it: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, manifest.MaxSize+1))
	switch {
	case err != nil:
		return broken("cannot read it: %v", err)
	case len(bytes.TrimSpace(data)) == 0:
		return broken("it is empty: delete the file to remove what it said before")
	}
	return manifest.Decode(data, manifest.Origin{Source: d.source, Name: d.path(name), Node: d.cfg.Node})
}

// replace makes next what the file says, and reports whether that is something new. Objects that did not change stay the
// same pointers. Where documents are broken, objects from before that no good document says anything of stay.
func (d *directory) replace(name string, next *file, problems []manifest.Problem) bool {
	old := d.files[name]
	if old == nil {
		old = &file{partial: true}
	}
	next.problems = problems
	next.partial = len(problems) > 0 && old.partial
	before := make(map[objects.Key]manifest.Object, len(old.objects))
	for _, o := range old.objects {
		before[o.Key()] = o
	}
	for i, o := range next.objects {
		if p, ok := o.Object.(*v1.Pod); ok {
			p.Annotations[pod.AnnotationSeen] = d.firstSeen(p.UID)
		}
		if was, ok := before[o.Key()]; ok && equality.Semantic.DeepEqual(was, o) {
			next.objects[i] = was
		}
		if was, ok := before[o.Key()]; ok && !mayBecome(was.Object, o.Object) {
			next.problems = append(next.problems, manifest.Problem{Source: d.source, Name: d.path(name), Document: o.Document, Line: o.Line, Field: "immutable",
				Text: o.Key().String() + " is immutable, and keeps what it said before: give it another name and use that, or delete it and add it again"})
			next.objects[i] = was
		}
		delete(before, o.Key())
	}
	if len(problems) > 0 {
		for _, o := range old.objects {
			if _, kept := before[o.Key()]; kept {
				next.objects = append(next.objects, o)
			}
		}
	}
	d.files[name] = next
	return !slices.Equal(old.objects, next.objects) || !slices.Equal(old.problems, next.problems) || old.partial != next.partial || !old.missing.IsZero()
}

// mayBecome reports whether an object may be changed into another. An immutable one keeps its data, and stays immutable;
// once it was deleted, anything may take its name.
func mayBecome(old, next objects.Object) bool {
	same := equality.Semantic.DeepEqual
	switch o := old.(type) {
	case *v1.ConfigMap:
		n, ok := next.(*v1.ConfigMap)
		return o.Immutable == nil || !*o.Immutable || ok && same(o.Immutable, n.Immutable) && same(o.Data, n.Data) && same(o.BinaryData, n.BinaryData)
	case *v1.Secret:
		n, ok := next.(*v1.Secret)
		return o.Immutable == nil || !*o.Immutable || ok && same(o.Immutable, n.Immutable) && same(o.Data, n.Data)
	}
	return true
}

func (d *directory) firstSeen(uid types.UID) string {
	if d.seen[uid] == "" {
		d.seen[uid] = d.cfg.Now().Format(time.RFC3339Nano)
	}
	return d.seen[uid]
}
