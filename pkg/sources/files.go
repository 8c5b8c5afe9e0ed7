package sources

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// Files is the source of the pods and objects that stand in a directory, or in one file. Files that end in .yaml, .yml or
// .json count; those that begin with a dot or look like an editor's own do not. The directory may appear later.
//
// A file is read once its writer has closed it or renamed it into place; the slow rescan finds what no event told.
type Files struct {
	Path   string           // absolute
	Node   string           // name of this node
	Rescan time.Duration    // default 20 s
	Log    *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
}

const (
	settle  = 100 * time.Millisecond // a file changed more recently than this, with no word of its writer, may be half written
	patient = time.Second            // a broken file is only reported when it is older
	abandon = time.Minute            // a writer that was silent for so long has left its file as it is

	// A source acts on what is not there only when it stays away: for a file, the moment between an editor's rename and its
	// new file; for the directory, the time that a kubelet takes to notice, in which a mount or an exchange is done.
	absentFile      = time.Second
	absentDirectory = 20 * time.Second
)

// dirID identifies a directory; the zero value stands for none.
type dirID struct{ device, inode uint64 }

func idOf(info os.FileInfo) dirID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return dirID{}
	}
	return dirID{device: st.Dev, inode: st.Ino}
}

// directory is the state of the source; one goroutine's.
type directory struct {
	cfg     Files
	source  pod.Source
	arm     func() // renews the watches
	files   map[string]*file
	writing map[string]time.Time   // files that somebody has begun to change, and when that was heard last
	seen    map[types.UID]string   // when a pod was seen first: the annotation config.seen
	logged  map[string]bool        // the problems that stand
	owner   map[objects.Key]string // the file whose word counts for an object
	unread  error                  // why the directory cannot be read; what it said before stays in force
	listed  bool                   // it could be read once
	single  bool                   // the path is one file
	dir     dirID                  // as last listed
	begun   time.Time              // when it was first looked at
	whole   bool                   // the first look is over: what is missing was removed while the agent was down
}

// Run emits all that the files say: once at the start and after every change. It returns when the context ends.
func (f Files) Run(ctx context.Context, emit func(Update)) {
	f.Rescan = cmp.Or(f.Rescan, 20*time.Second)
	if f.Log == nil {
		f.Log = slog.Default()
	}
	if f.Now == nil {
		f.Now = time.Now
	}
	d := newDirectory(f, pod.SourceFile)
	w, err := openWatcher(f.Path)
	if err != nil {
		f.Log.Warn("cannot watch the manifest directory: it is only read again now and then; raise fs.inotify.max_user_instances",
			"path", f.Path, "every", f.Rescan, "err", err)
		d.run(ctx, nil, emit)
		return
	}
	d.arm = w.arm
	changes := make(chan changes, 1)
	var wg sync.WaitGroup
	wg.Go(func() { w.run(ctx, changes) })
	d.run(ctx, changes, emit)
	w.close()
	wg.Wait()
}

func newDirectory(cfg Files, source pod.Source) *directory {
	return &directory{cfg: cfg, source: source, files: map[string]*file{}, writing: map[string]time.Time{}, seen: map[types.UID]string{},
		logged: map[string]bool{}, arm: func() {}}
}

func (d *directory) run(ctx context.Context, in <-chan changes, emit func(Update)) {
	rescan := time.NewTicker(d.cfg.Rescan)
	defer rescan.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for c, first := (changes{all: true}), true; ; first = false {
		if d.apply(c) || first {
			emit(d.update())
		}
		retry.Stop()
		if at := d.nextRetry(); !at.IsZero() {
			retry.Reset(max(0, at.Sub(d.cfg.Now())))
		}
		c = changes{}
		select {
		case <-ctx.Done():
			return
		case c = <-in:
		case <-rescan.C:
			c.all = true
		case <-retry.C:
		}
	}
}

// apply reads what may have changed and reports whether anything has.
func (d *directory) apply(c changes) bool {
	now := d.cfg.Now()
	if d.begun.IsZero() {
		d.begun = now
	}
	for _, name := range c.begun {
		d.writing[name] = now
	}
	for _, name := range c.closed {
		delete(d.writing, name)
	}
	changed := false
	for _, name := range c.closed {
		changed = d.counts(name) && d.read(name, true, now) || changed
	}
	for _, name := range c.created {
		changed = d.counts(name) && d.read(name, false, now) || changed
	}
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if at := d.files[name].retry; !at.IsZero() && !at.After(now) {
			changed = d.read(name, false, now) || changed
		}
	}
	changed = c.all && d.scan(now) || changed
	if !d.whole && !now.Before(d.wholeAt()) {
		d.whole, changed = true, true
	}
	return changed
}

// wholeAt is when the first look is over: a file or the directory may be away for a moment just when the agent starts.
func (d *directory) wholeAt() time.Time {
	if d.dir == (dirID{}) {
		return d.begun.Add(absentDirectory)
	}
	return d.begun.Add(absentFile)
}

// scan looks at every file and reports whether anything has changed.
func (d *directory) scan(now time.Time) bool {
	d.arm()
	names, err := d.list()
	if err != nil {
		same := d.unread != nil && d.unread.Error() == err.Error()
		d.unread = err
		return !same
	}
	changed := d.unread != nil || !d.listed
	d.unread, d.listed = nil, true
	for name := range d.files {
		if !slices.Contains(names, name) {
			changed = d.absent(name, now) || changed
		}
	}
	for _, name := range names {
		changed = d.read(name, false, now) || changed
	}
	for name, since := range d.writing {
		if now.Sub(since) > abandon {
			delete(d.writing, name)
		}
	}
	return changed
}

// list returns the names of the files that count, sorted. A directory that does not exist is empty.
func (d *directory) list() ([]string, error) {
	info, err := os.Stat(d.cfg.Path)
	d.dir = dirID{}
	if isAbsent(err) && d.single {
		d.dir = parent(d.cfg.Path)
	}
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.single = !info.IsDir()
	if d.single {
		d.dir = parent(d.cfg.Path)
		return []string{filepath.Base(d.cfg.Path)}, nil
	}
	d.dir = idOf(info)
	entries, err := os.ReadDir(d.cfg.Path)
	var names []string
	for _, e := range entries {
		if !e.IsDir() && d.counts(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// parent is the directory that a file lies in.
func parent(path string) dirID {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return dirID{}
	}
	return idOf(info)
}

// counts tells manifests from hidden files and from what editors leave: x.yaml~, #x.yaml#, .x.yaml.swp, 4913.
func (d *directory) counts(name string) bool {
	if d.single {
		return name == filepath.Base(d.cfg.Path)
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#")
	}
	return false
}

func (d *directory) path(name string) string {
	if d.single {
		return d.cfg.Path
	}
	return filepath.Join(d.cfg.Path, name)
}

// nextRetry is when a file has to be looked at again without an event; zero: never.
func (d *directory) nextRetry() time.Time {
	var next time.Time
	if !d.whole {
		next = d.wholeAt()
	}
	for _, f := range d.files {
		if !f.retry.IsZero() && (next.IsZero() || f.retry.Before(next)) {
			next = f.retry
		}
	}
	return next
}

// update puts together what all files say. Of two objects with one name the one that was there first counts, so that a
// new file never replaces what runs; of two that were there at the start, the one in the first file. A file that is not
// there gives way to any that is.
func (d *directory) update() Update {
	u := Update{Source: d.source, Partial: !d.listed || !d.whole}
	if d.unread != nil {
		u.Problems = append(u.Problems, manifest.Problem{Source: d.source, Name: d.cfg.Path, Text: "cannot read it: " + d.unread.Error()})
	}
	owner, names := map[objects.Key]string{}, slices.Sorted(maps.Keys(d.files))
	byPresence := slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return d.files[a].missing.Compare(d.files[b].missing) })
	for _, name := range byPresence {
		for _, o := range d.files[name].objects {
			if _, taken := owner[o.Key()]; !taken || d.owner[o.Key()] == name && d.files[name].missing.IsZero() {
				owner[o.Key()] = name
			}
		}
	}
	d.owner = owner
	for _, name := range names {
		f := d.files[name]
		u.Partial = u.Partial || f.partial
		u.Problems = append(u.Problems, f.problems...)
		for _, o := range f.objects {
			if other := owner[o.Key()]; other != name && !f.missing.IsZero() {
				continue
			} else if other != name {
				u.Problems = append(u.Problems, manifest.Problem{Source: d.source, Name: d.path(name), Document: o.Document, Line: o.Line,
					Field: "metadata.name", Text: o.Key().String() + " is also in " + other + ", which is used: remove or rename one of them"})
				continue
			}
			u.add(o)
		}
	}
	seen := make(map[types.UID]string, len(u.Pods))
	for _, p := range u.Pods {
		seen[p.UID] = d.seen[p.UID]
	}
	d.seen = seen
	d.log(u.Problems)
	return u
}

// log says each problem once, and again when it comes back.
func (d *directory) log(problems []manifest.Problem) {
	now := make(map[string]bool, len(problems))
	for _, p := range problems {
		text := p.String()
		now[text] = true
		if !d.logged[text] {
			d.cfg.Log.Error("a manifest has a problem: what it said before stays in force", "source", p.Source, "problem", text)
		}
	}
	d.logged = now
}
