package hosttree_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
	"github.com/minikubelet/minikubelet/pkg/hosttree/treetest"
)

func count(t *testing.T, tree string) (n int, err error) {
	t.Helper()
	err = hosttree.Walk(t.Context(), tree, func(hosttree.Entry) error { n++; return nil })
	return n, err
}

func TestWalk_TakesTheSameForEveryTree(t *testing.T) {
	for name, tc := range map[string]struct {
		build func(dir string)
		want  int
	}{
		"nested 10000 deep": {func(dir string) { treetest.Deep(t, dir, 10000) }, 10001},
		"100000 files":      {func(dir string) { treetest.Wide(t, dir, 100000) }, 100000},
		"nested side by side": {func(dir string) {
			for i := range 40 {
				treetest.Deep(t, mkdir(t, dir, fmt.Sprint(i)), 100)
			}
		}, 40 * 102},
	} {
		t.Run(name, func(t *testing.T) {
			tree := mkdir(t, treetest.Memory(t), "tree")
			tc.build(tree)
			watched(t, func() {
				if n, err := count(t, tree); n != tc.want || err != nil {
					t.Errorf("it visited %d entries, want %d: %v", n, tc.want, err)
				}
			})
		})
	}
}

func TestWalk_VisitsEachEntryOnceAndParentsFirst(t *testing.T) {
	for _, on := range []func(testing.TB) string{treetest.Memory, func(tb testing.TB) string { return tb.TempDir() }} {
		tree := mkdir(t, on(t), "tree")
		want := map[string]bool{}
		var fill func(at string, depth int)
		fill = func(at string, depth int) {
			for i := range 2 {
				want[strings.TrimPrefix(write(t, tree, at, fmt.Sprint("file", i)), tree+"/")] = true
				if sub := filepath.Join(at, fmt.Sprint("dir", i)); i == 0 && depth > 0 || depth > 16 {
					want[sub] = true
					fill(sub, depth-1)
				}
			}
		}
		fill("", 20) // deeper than levels stay open, with something beside on every level
		got := map[string]int{}
		if err := hosttree.Walk(t.Context(), tree, func(e hosttree.Entry) error {
			path := strings.TrimPrefix(e.Path(), tree+"/")
			if parent := filepath.Dir(path); parent != "." && got[parent] != 1 {
				t.Errorf("%s came before its directory", path)
			}
			got[path]++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for path, n := range got {
			if n != 1 || !want[path] {
				t.Errorf("%s was visited %d times", path, n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d entries were visited, want %d", len(got), len(want))
		}
	}
}

func TestWalk_LeavesOutMountsLinksAndWhatAVisitSkips(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "host", "f")
	tree := mkdir(t, dir, "tree")
	write(t, tree, "skipped", "f")
	write(t, tree, "entered", "f")
	if err := os.Symlink(filepath.Join(dir, "host"), filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(filepath.Join(dir, "host"), mkdir(t, tree, "bind"), "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { unmountBelow(t, tree) })
	got := map[string]bool{}
	if err := hosttree.Walk(t.Context(), tree, func(e hosttree.Entry) error {
		got[strings.TrimPrefix(e.Path(), tree+"/")] = true
		if e.Name == "skipped" {
			return fs.SkipDir
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"bind", "entered", "entered/f", "link", "skipped"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("it visited %q, want %q", names, want)
	}
	if err := hosttree.Walk(t.Context(), filepath.Join(tree, "link"), func(hosttree.Entry) error { return nil }); err == nil {
		t.Error("it followed a link to a tree")
	}
}

func TestWalk_EndsWithItsContextAndWithAVisit(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	treetest.Wide(t, tree, 100)
	n := 0
	err := hosttree.Walk(&stopAfter{t.Context(), 10}, tree, func(hosttree.Entry) error { n++; return nil })
	if !errors.Is(err, context.Canceled) || n != 10 {
		t.Errorf("%d entries were visited, error is %v", n, err)
	}
	full := errors.New("enough")
	if err := hosttree.Walk(t.Context(), tree, func(hosttree.Entry) error { return full }); !errors.Is(err, full) {
		t.Errorf("error is %v", err)
	}
}

func TestWalk_TellsOfATreeThatIsTooDeep(t *testing.T) {
	tree := mkdir(t, treetest.Memory(t), "tree")
	treetest.Deep(t, tree, 17000)
	write(t, tree, "beside")
	watched(t, func() {
		n, err := count(t, tree)
		if !errors.Is(err, hosttree.ErrTooDeep) || n != 1<<14+1 || len(err.Error()) > 4<<10 {
			t.Errorf("%d entries were visited, error is %.300v", n, err)
		}
	})
}

// What is moved away while the walk is in it must not lead the walk out of the tree, nor end it.
func TestWalk_GoesOnWhenTheDirectoryThatItIsInMovesAway(t *testing.T) {
	dir := t.TempDir()
	elsewhere := mkdir(t, dir, "elsewhere")
	for i := range 50 {
		write(t, elsewhere, fmt.Sprint("secret", i))
	}
	tree := mkdir(t, dir, "tree")
	at := tree
	for i := range 30 {
		at = mkdir(t, at, fmt.Sprint("level", i))
		write(t, at, "file")
	}
	for i := range 50 {
		write(t, tree, fmt.Sprint("top", i))
	}
	top := 0
	err := hosttree.Walk(t.Context(), tree, func(e hosttree.Entry) error {
		switch {
		case e.Name == "level29":
			if err := os.Rename(filepath.Join(tree, "level0/level1/level2"), filepath.Join(elsewhere, "level2")); err != nil {
				t.Error(err)
			}
		case strings.HasPrefix(e.Name, "secret"):
			t.Errorf("the walk has left the tree: %s", e.Path())
		case strings.HasPrefix(e.Name, "top"):
			top++
		}
		return nil
	})
	if err != nil || top != 50 {
		t.Errorf("it visited %d of the 50 files beside, error is %v", top, err)
	}
}

func TestWalk_FinishesWhileNamesChange(t *testing.T) {
	tree := mkdir(t, treetest.Memory(t), "tree")
	for i := range 20 {
		treetest.Deep(t, mkdir(t, tree, fmt.Sprint(i)), 30)
	}
	stop := shuffle(t, tree, 20)
	for range 20 {
		if n, err := count(t, tree); err != nil || n == 0 { // a file system need not list what is renamed meanwhile
			t.Errorf("it visited %d entries, error is %v", n, err)
		}
	}
	stop()
}

func TestWalk_NamesTheTreeThatIsNotThere(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	if _, err := count(t, none); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), none) {
		t.Errorf("error is %v", err)
	}
	if _, err := count(t, write(t, none)); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("error is %v", err)
	}
}
