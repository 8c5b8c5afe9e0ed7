package hosttree_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
	"github.com/minikubelet/minikubelet/pkg/hosttree/treetest"
)

// Bounds of what one walk or removal may take, whatever the tree.
const (
	mostHeap = 8 << 20
	mostFDs  = 24
)

func write(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte("x"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func mkdir(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// watched fails the test when a function takes more than a walk may.
func watched(t *testing.T, f func()) {
	t.Helper()
	if most := treetest.Watch(t, f); most.Heap > mostHeap || most.FDs > mostFDs {
		t.Errorf("it took %d KiB of heap and %d descriptors; at most %d and %d may be", most.Heap>>10, most.FDs, mostHeap>>10, mostFDs)
	}
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%.100s is still there: %v", path, err)
	}
}

func TestRemove_TakesTheSameForEveryTree(t *testing.T) {
	for name, build := range map[string]func(dir string){
		"nested 10000 deep": func(dir string) { treetest.Deep(t, dir, 10000) },
		"100000 files":      func(dir string) { treetest.Wide(t, dir, 100000) },
		"nested side by side": func(dir string) {
			for i := range 40 {
				treetest.Deep(t, mkdir(t, dir, fmt.Sprint(i)), 100)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := mkdir(t, treetest.Memory(t), "tree")
			build(tree)
			watched(t, func() {
				if err := hosttree.Remove(t.Context(), tree); err != nil {
					t.Error(err)
				}
			})
			gone(t, tree)
		})
	}
}

func TestRemove_WorksOnADisk(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	treetest.Deep(t, tree, 300)
	treetest.Plain(t, tree, 10, 300)
	if err := hosttree.Remove(t.Context(), tree); err != nil {
		t.Error(err)
	}
	gone(t, tree)
}

func TestRemove_TakesAFileALinkAndWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	precious := write(t, dir, "host", "precious")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Dir(precious), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, write(t, dir, "file"), mkdir(t, dir, "empty"), filepath.Join(dir, "none"), filepath.Join(dir, "none", "none")} {
		if err := hosttree.Remove(t.Context(), path); err != nil {
			t.Error(err)
		}
		gone(t, path)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestRemove_TakesANameThatNoFileSystemTakesForGone(t *testing.T) {
	if err := hosttree.Remove(t.Context(), filepath.Join(t.TempDir(), strings.Repeat("n", 256))); err != nil {
		t.Error(err)
	}
}

func TestRemove_FollowsNoLinkAndEntersNoMount(t *testing.T) {
	for _, depth := range []int{1, 40} {
		t.Run(fmt.Sprint(depth, " deep"), func(t *testing.T) {
			dir := t.TempDir()
			precious := write(t, dir, "host", "precious")
			tree := mkdir(t, dir, "tree")
			write(t, tree, "a", "b", "c")
			if err := os.Symlink(filepath.Join(dir, "host"), filepath.Join(tree, "link")); err != nil {
				t.Fatal(err)
			}
			below := filepath.Join(tree, strings.Repeat("d/", depth))
			for point, mount := range map[string]func(point string) error{
				"tmpfs": func(point string) error { return unix.Mount("tmpfs", point, "tmpfs", 0, "") },
				"bind":  func(point string) error { return unix.Mount(filepath.Dir(precious), point, "", unix.MS_BIND, "") },
			} {
				if err := mount(mkdir(t, below, point)); err != nil {
					t.Fatalf("mounting needs root: %v", err)
				}
			}
			t.Cleanup(func() { unmountBelow(t, tree) })
			inside, err := os.Open(filepath.Join(below, "tmpfs"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, below, "tmpfs", "f")
			if err := hosttree.Remove(t.Context(), tree); !errors.Is(err, hosttree.ErrMounted) {
				t.Errorf("error is %v, want ErrMounted", err)
			}
			if names, err := inside.Readdirnames(-1); len(names) != 1 || err != nil {
				t.Errorf("the mount holds %q, %v", names, err)
			}
			inside.Close()
			if _, err := os.Stat(precious); err != nil {
				t.Error(err)
			}
			gone(t, filepath.Join(tree, "a"))
			unmountBelow(t, tree)
			if err := hosttree.Remove(t.Context(), tree); err != nil {
				t.Error(err)
			}
			gone(t, tree)
			if _, err := os.Stat(precious); err != nil {
				t.Error(err)
			}
		})
	}
}

func unmountBelow(t *testing.T, dir string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if point := strings.Fields(line)[1]; strings.HasPrefix(point, dir+"/") {
			if err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// immutable makes that nobody can change or remove a file, until the test ends.
func immutable(t *testing.T, path string) {
	t.Helper()
	const flag = 0x10 // FS_IMMUTABLE_FL
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0); err != nil {
			t.Error(err)
		}
		f.Close()
	})
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flag); err != nil {
		t.Fatalf("an immutable file needs root and a file system such as ext4 or tmpfs: %v", err)
	}
}

func TestRemove_TellsInFewWordsWhatStays(t *testing.T) {
	tree := mkdir(t, treetest.Memory(t), "tree")
	deep := mkdir(t, tree, strings.Repeat("d/", 100))
	for i := range 50 {
		immutable(t, write(t, deep, fmt.Sprint(strings.Repeat("n", 200), i)))
		write(t, deep, fmt.Sprint("other", i))
	}
	for range 2 {
		err := hosttree.Remove(t.Context(), tree)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "and 45 more") || len(err.Error()) > 4<<10 {
			t.Errorf("error has %d bytes: %.300v", len(fmt.Sprint(err)), err)
		}
		left := 0
		if err := filepath.WalkDir(tree, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				left++
			}
			return err
		}); err != nil || left != 50 {
			t.Errorf("%d files are left, %v; want the 50 that cannot be removed", left, err)
		}
	}
}

func TestRemove_NamesTheFileThatStays(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	file := write(t, tree, "a", "b", "stays")
	immutable(t, file)
	write(t, tree, "a", "goes")
	if err := hosttree.Remove(t.Context(), tree); err == nil || !strings.Contains(err.Error(), "remove "+file+": operation not permitted") {
		t.Errorf("error is %v", err)
	}
	gone(t, filepath.Join(tree, "a", "goes"))
}

// stopAfter is a context that ends after it was asked a number of times.
type stopAfter struct {
	context.Context
	left int
}

func (s *stopAfter) Err() error {
	if s.left--; s.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestRemove_GoesOnWhereTheLastOneWasStopped(t *testing.T) {
	tree := mkdir(t, treetest.Memory(t), "tree")
	treetest.Deep(t, tree, 1000)
	treetest.Wide(t, tree, 1000)
	tries := 1
	for ; tries < 100; tries++ {
		err := hosttree.Remove(&stopAfter{t.Context(), 200}, tree)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	gone(t, tree)
	if tries < 5 || tries > 30 {
		t.Errorf("it took %d tries", tries)
	}
}

func TestRemove_FinishesWhileNamesChange(t *testing.T) {
	tree := mkdir(t, treetest.Memory(t), "tree")
	for i := range 50 {
		treetest.Deep(t, mkdir(t, tree, fmt.Sprint(i)), 30)
	}
	stop := shuffle(t, tree, 50)
	for err := error(nil); ; {
		if err = hosttree.Remove(t.Context(), tree); err == nil {
			break
		}
		if errors.Is(err, hosttree.ErrMounted) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	stop()
	gone(t, tree)
}

// shuffle moves the numbered directories of a tree into each other and back until it is stopped.
func shuffle(t *testing.T, tree string, n int) (stop func()) {
	t.Helper()
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			a, b := fmt.Sprint(tree, "/", i%n), fmt.Sprint(tree, "/", (i*7+1)%n)
			_ = os.Rename(a, b+"/moved") // either may be gone
			_ = os.Rename(b+"/moved", a)
		}
	}()
	return func() { close(done); <-over }
}

func BenchmarkRemove(b *testing.B) {
	for _, on := range []string{"memory", "disk"} {
		b.Run(on, func(b *testing.B) {
			dir := b.TempDir()
			if on == "memory" {
				dir = treetest.Memory(b)
			}
			tree := filepath.Join(dir, "tree")
			for range b.N {
				b.StopTimer()
				treetest.Plain(b, mkdir(b, tree), 100, 100)
				b.StartTimer()
				if err := hosttree.Remove(b.Context(), tree); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
