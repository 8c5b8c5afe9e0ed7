package hostfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, elem ...string) string {
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

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatalf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func TestUnmountBelow_UndoesStackedAndNestedMounts(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a")
	mountTmpfs(t, a)
	mountTmpfs(t, a)
	mountTmpfs(t, filepath.Join(a, "b"))
	sibling := filepath.Join(dir, "ab")
	mountTmpfs(t, sibling)
	if points, err := MountsBelow(a); err != nil || !slices.Equal(points, []string{filepath.Join(a, "b"), a, a}) {
		t.Errorf("mounts are %q, %v", points, err)
	}
	if err := UnmountBelow(a); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]bool{a: false, sibling: true, filepath.Join(dir, "none"): false} {
		if got, err := Mounted(path); got != want || err != nil {
			t.Errorf("Mounted(%s) = %v, %v", path, got, err)
		}
	}
}

func TestOpenBeneath_StaysBeneath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "outside")
	root := filepath.Join(dir, "root")
	write(t, root, "sub", "f")
	for name, target := range map[string]string{"in": "sub/f", "up": "../outside", "abs": filepath.Join(root, "sub"), "proc": "/proc/self/root"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, ok := range map[string]bool{"sub/f": true, "in": true, "sub/../sub/f": true, "up": false, "abs": false, "proc": false, "../outside": false, "/etc": false} {
		f, err := OpenBeneath(root, name)
		if err == nil {
			f.Close()
		}
		if (err == nil) != ok {
			t.Errorf("OpenBeneath(%s): %v", name, err)
		}
	}
	if _, err := OpenBeneath(root, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want ErrNotExist", err)
	}
}
