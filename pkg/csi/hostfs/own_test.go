package hostfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/hosttree/treetest"
)

func owned(t *testing.T, path string) (gid uint32, mode uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Gid, st.Mode & 0o7777
}

func TestOwn_GivesATreeToAGroup(t *testing.T) {
	dir := t.TempDir()
	host := write(t, dir, "host", "f")
	tree := filepath.Join(dir, "tree")
	file := write(t, tree, "sub", "deeper", "f")
	link := filepath.Join(tree, "link")
	if err := os.Symlink(host, link); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, filepath.Join(tree, "mnt"))
	mounted := write(t, tree, "mnt", "f")
	group := int64(4321)
	if err := Own(t.Context(), tree, Owner{Group: &group}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct{ gid, mode uint32 }{
		tree: {4321, 0o2775}, filepath.Join(tree, "sub"): {4321, 0o2775}, filepath.Dir(file): {4321, 0o2775}, file: {4321, 0o660},
		link: {4321, 0o777}, host: {0, 0o600}, mounted: {0, 0o600},
	} {
		if gid, mode := owned(t, path); gid != want.gid || mode != want.mode {
			t.Errorf("%s: group %d mode %o, want %d %o", path, gid, mode, want.gid, want.mode)
		}
	}
}

func TestOwn_TakesTheSameForEveryTree(t *testing.T) {
	tree := filepath.Join(treetest.Memory(t), "tree")
	file := write(t, tree, "f")
	treetest.Deep(t, tree, 5000)
	group := int64(4321)
	most := treetest.Watch(t, func() {
		if err := Own(t.Context(), tree, Owner{Group: &group}); err != nil {
			t.Error(err)
		}
	})
	if most.Heap > 8<<20 || most.FDs > 24 {
		t.Errorf("it took %d KiB of heap and %d descriptors", most.Heap>>10, most.FDs)
	}
	if gid, _ := owned(t, file); gid != 4321 {
		t.Errorf("the group is %d", gid)
	}
}

func TestOwn_LeavesTheRootForTheNextTryWhenItFails(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	write(t, tree, "f")
	group := int64(4321)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Own(ctx, tree, Owner{Group: &group}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if gid, _ := owned(t, tree); gid == 4321 {
		t.Error("the root is the group's, but not what is in it")
	}
	none := filepath.Join(tree, "none")
	if err := Own(t.Context(), none, Owner{Group: &group}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), none) {
		t.Errorf("error is %v", err)
	}
}

func BenchmarkOwn(b *testing.B) {
	for _, on := range []string{"memory", "disk"} {
		b.Run(on, func(b *testing.B) {
			dir := b.TempDir()
			if on == "memory" {
				dir = treetest.Memory(b)
			}
			treetest.Plain(b, dir, 100, 100)
			group := int64(4321)
			for b.Loop() {
				if err := Own(b.Context(), dir, Owner{Group: &group}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
