package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// look checks that a directory holds these files alone, and returns what they hold.
func look(t *testing.T, dir string, names ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have, contents []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		have, contents = append(have, e.Name()), append(contents, string(b))
	}
	if d := cmp.Diff(names, have); d != "" {
		t.Error(d)
	}
	return contents
}

func TestWrite_ReplacesContentAndMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for i, mode := range []fs.FileMode{0o600, 0o640, 0o755} {
		content := strings.Repeat("x", i)
		if err := Write(path, []byte(content), mode, Sync(i)); err != nil {
			t.Fatal(err)
		}
		if got := look(t, dir, "f"); got[0] != content {
			t.Errorf("it holds %q, want %q", got[0], content)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%v %v, want mode %v", info, err, mode)
		}
	}
}

// An older agent, or a person, may have put a link there: it is replaced, and what it leads to stays.
func TestWrite_ReplacesALinkItself(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, []byte("theirs"), 0o600), os.Symlink(other, filepath.Join(dir, "f"))); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "f"), []byte("ours"), 0o600, None); err != nil {
		t.Fatal(err)
	}
	if got, theirs := look(t, dir, "f"), look(t, filepath.Dir(other), "other"); got[0] != "ours" || theirs[0] != "theirs" {
		t.Errorf("%q %q", got, theirs)
	}
}

func TestCopy_LeavesTheOldFileWhenItFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		from io.Reader
		want error
	}{
		"half-read": {io.MultiReader(strings.NewReader("new"), iotest.ErrReader(broken)), broken},
		"no space":  {bytes.NewReader(make([]byte, 64<<10)), unix.EFBIG},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := Write(path, []byte("old"), 0o600, None); err != nil {
				t.Fatal(err)
			}
			limitFileSize(t, 16<<10)
			err := Copy(path, c.from, 0o600, Name)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %v with the file's name", err, c.want)
			}
			if got := look(t, dir, "f"); got[0] != "old" {
				t.Errorf("it holds %q", got[0])
			}
		})
	}
}

// limitFileSize makes the disk look full: from there on a write fails in the middle, as it does for want of space.
func limitFileSize(t *testing.T, bytes uint64) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
	})
}

func TestWrite_WantsADirectoryAndNoneInItsPlace(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "none", "f"), nil, 0o600, None); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := Write(dir, nil, 0o600, None); err == nil {
		t.Error("it has replaced a directory")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), prefix+"*")); len(left) > 0 {
		t.Error(left)
	}
}

func TestWrite_OfSeveralAtOnceLeavesOneWhole(t *testing.T) {
	const writers, rounds, size = 8, 50, 32 << 10
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	whole := func(b []byte) bool { return len(b) == size && bytes.Count(b, b[:1]) == size }
	var g sync.WaitGroup
	for i := range writers {
		g.Go(func() {
			mine := bytes.Repeat([]byte{byte('a' + i)}, size)
			for range rounds {
				if err := Write(path, mine, 0o600, None); err != nil {
					t.Error(err)
				}
				if b, err := os.ReadFile(path); err != nil || !whole(b) {
					t.Errorf("read a part: %d bytes, %v", len(b), err)
				}
			}
		})
	}
	g.Wait()
	look(t, dir, "f")
}

func TestSweep_TakesWhatKilledWritersLeft(t *testing.T) {
	dir := t.TempDir()
	put := func(names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("f", "f.new", prefix+"1", prefix+"2")
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, prefix+"1"), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir, time.Minute); err != nil {
		t.Fatal(err)
	}
	look(t, dir, prefix+"2", "f", "f.new")
	if err := Sweep(dir, 0); err != nil {
		t.Fatal(err)
	}
	look(t, dir, "f", "f.new")
	if err := Sweep(filepath.Join(dir, "none"), 0); err != nil {
		t.Error(err)
	}
}
