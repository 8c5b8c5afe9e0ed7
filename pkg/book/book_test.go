package book

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

type note struct {
	Name  string `json:"name"`
	Count int    `json:"count,omitempty"`
}

// notes is a book whose values name their file.
func notes(dir string) Book[note] {
	return Book[note]{Dir: dir, Mode: 0o700, Check: func(name string, n note) error {
		if n.Name != name {
			return fmt.Errorf("it is of %q", n.Name)
		}
		return nil
	}}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestBook_GetsWhatWasPut(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "notes")
	b := notes(dir)
	if got, err := b.Names("*"); got != nil || err != nil {
		t.Errorf("names without a directory: %v, %v", got, err)
	}
	for i, name := range []string{"b", "a", "below/c"} {
		for count := range 2 {
			b.Sync = atomicfile.Sync(i)
			if err := b.Put(name, note{name, count}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := b.Get(name); err != nil || got != (note{name, 1}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info, err)
		}
	}
	if got, err := b.Names("?"); err != nil || cmp.Diff([]string{"a", "b"}, got) != "" {
		t.Errorf("names %v, %v", got, err)
	}
	if _, err := b.Names("["); err == nil {
		t.Error("a pattern that is none was taken")
	}
	for range 2 {
		if err := b.Delete("a"); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Get("a"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrGarbled) {
		t.Errorf("a value that was deleted: %v", err)
	}
	if _, err := b.Take("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a value that was deleted: %v", err)
	}
}

// spoiled makes, by name, what may be in the place of a file.
var spoiled = map[string]func(file string) error{
	"empty":        content(""),
	"blank":        content(strings.Repeat("\x00", 512)), // after a power cut
	"half-written": content(`{"name":"half-`),
	"binary":       content("\x00\xff"),
	"two values":   content(`{"name":"two values"}{}`),
	"another type": content(`["another type"]`),
	"of another":   content(`{"name":"../x"}`),
	"null":         content(`null`),
	"directory":    func(file string) error { return os.MkdirAll(filepath.Join(file, "x"), 0o700) },
	"link":         func(file string) error { return os.Symlink("good", file) },
	"dead link":    func(file string) error { return os.Symlink("none", file) },
	"pipe":         func(file string) error { return unix.Mkfifo(file, 0o600) },
	"huge":         func(file string) error { return errors.Join(content("{")(file), os.Truncate(file, most+1)) },
}

func content(s string) func(string) error {
	return func(file string) error { return os.WriteFile(file, []byte(s), 0o600) }
}

func TestBook_TellsWhatIsGarbledAndSetsItAside(t *testing.T) {
	dir := t.TempDir()
	b := notes(dir)
	if err := b.Put("good", note{Name: "good"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"good"}
	for name, spoil := range spoiled {
		file := filepath.Join(dir, name)
		if err := spoil(file); err != nil {
			t.Fatal(err)
		}
		got, err := b.Get(name)
		if !errors.Is(err, ErrGarbled) || !strings.Contains(err.Error(), file) || got != (note{}) {
			t.Errorf("Get(%s) = %+v, %v", name, got, err)
		}
		if _, err := os.Lstat(file); err != nil {
			t.Errorf("Get has not left %s: %v", name, err)
		}
		got, err = b.Take(name)
		if !errors.Is(err, ErrGarbled) || !strings.Contains(err.Error(), file+".bad") || got != (note{}) {
			t.Errorf("Take(%s) = %+v, %v", name, got, err)
		}
		if _, err := b.Take(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was not set aside: %v", name, err)
		}
		want = append(want, name+".bad")
	}
	for _, name := range want {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if all := names(t, dir); len(all) != len(want) {
		t.Errorf("left %q", all)
	}
}

func TestTake_SaysThatItCannotSetAside(t *testing.T) {
	b := notes(t.TempDir())
	file := filepath.Join(b.Dir, "x")
	if err := errors.Join(content("{")(file), os.Mkdir(file+".bad", 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Take("x"); err == nil || errors.Is(err, ErrGarbled) {
		t.Errorf("error %v, want another than that of a file that was set aside", err)
	}
	if _, err := os.Lstat(file); err != nil {
		t.Error(err)
	}
}

func TestBook_AnErrorOfTheFileSystemIsNoGarbledFile(t *testing.T) {
	b := notes(t.TempDir())
	if err := content("{}")(filepath.Join(b.Dir, "file")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file/below", strings.Repeat("x", 300)} {
		if _, err := b.Take(name); err == nil || errors.Is(err, ErrGarbled) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Take(%.20s): %v", name, err)
		}
	}
	b.Dir = filepath.Join(b.Dir, "file")
	if _, err := b.Names("*"); err == nil {
		t.Error("a file in the place of the directory has names")
	}
	if err := b.Open(); err == nil {
		t.Error("a file in the place of the directory was opened")
	}
}

func TestPut_MakesNoDirectoryWithoutAMode(t *testing.T) {
	b := notes(filepath.Join(t.TempDir(), "none"))
	b.Mode = 0
	if err := b.Put("x", note{Name: "x"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestPut_ReplacesWhatIsGarbledButNoDirectory(t *testing.T) {
	for name, spoil := range spoiled {
		b := notes(t.TempDir())
		if err := spoil(filepath.Join(b.Dir, name)); err != nil {
			t.Fatal(err)
		}
		err := b.Put(name, note{Name: name})
		if name == "directory" {
			if err == nil {
				t.Error("a directory was replaced")
			}
			continue
		}
		if got, getErr := b.Get(name); err != nil || getErr != nil || got.Name != name {
			t.Errorf("%s: %+v, %v, %v", name, got, err, getErr)
		}
	}
}

func TestPut_OfWhatCannotBeReadAgainLeavesTheFile(t *testing.T) {
	b := Book[any]{Dir: t.TempDir()}
	if err := b.Put("x", 1); err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{func() {}, make([]byte, most)} {
		if err := b.Put("x", v); err == nil || !strings.Contains(err.Error(), filepath.Join(b.Dir, "x")) {
			t.Errorf("error %v", err)
		}
	}
	if got, err := b.Get("x"); err != nil || got != 1.0 {
		t.Errorf("it holds %v, %v", got, err)
	}
}

func TestPut_OnAFullDiskKeepsTheOldContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatalf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	b := Book[string]{Dir: dir}
	if err := b.Put("f", "old"); err != nil {
		t.Fatal(err)
	}
	b.Sync = atomicfile.Name
	if err := b.Put("f", strings.Repeat("x", 64<<10)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("error is %v, want ENOSPC", err)
	}
	if got, err := b.Get("f"); err != nil || got != "old" {
		t.Errorf("content is %q, %v", got, err)
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("a half-written file is left: %v", all)
	}
}

func TestOpen_RemovesWhatKilledWritersLeft(t *testing.T) {
	b := notes(filepath.Join(t.TempDir(), "a", "b"))
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(b.Dir); err != nil || info.Mode().Perm() != b.Mode {
		t.Errorf("%v %v", info, err)
	}
	if err := b.Put("below/it/x", note{Name: "below/it/x"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".new-1", "below/.new-2", "below/it/.new-3", "x", "x.bad"} {
		if err := content("{")(filepath.Join(b.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string][]string{"": {"below", "x", "x.bad"}, "below": {"it"}, "below/it": {"x"}} {
		if d := cmp.Diff(want, names(t, filepath.Join(b.Dir, dir))); d != "" {
			t.Error(d)
		}
	}
}

func TestBook_OfSeveralAtOnceShowsWholeValues(t *testing.T) {
	dir := t.TempDir()
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			b, mine := notes(dir), fmt.Sprint("own-", i)
			for count := range 50 {
				for _, name := range []string{mine, "shared"} {
					if err := b.Put(name, note{name, count}); err != nil {
						t.Error(err)
					}
					if got, err := b.Take(name); err != nil || name == mine && got.Count != count {
						t.Errorf("%s: %+v, %v", name, got, err)
					}
				}
				if all, err := b.Names("own-*"); err != nil || len(all) == 0 {
					t.Errorf("%v, %v", all, err)
				}
			}
			if err := b.Delete(mine); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if d := cmp.Diff([]string{"shared"}, names(t, dir)); d != "" {
		t.Error(d)
	}
}
