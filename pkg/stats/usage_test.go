package stats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/minikubelet/minikubelet/pkg/hosttree/treetest"
)

func measure(t *testing.T, dir string) Usage {
	t.Helper()
	used, err := diskUsage(t.Context(), dir, func(Usage) {})
	if err != nil {
		t.Error(err)
	}
	return used
}

func TestDiskUsage_CountsBlocksOnceAndFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	if empty := measure(t, dir); empty.Inodes != 1 {
		t.Fatalf("an empty directory: %+v", empty)
	}
	outside := filepath.Join(t.TempDir(), "big")
	write(t, outside, 1<<20)
	write(t, filepath.Join(dir, "a"), 64<<10)
	write(t, filepath.Join(dir, "sub/b"), 64<<10)
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "sub/a2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	got := measure(t, dir)
	if got.Inodes != 5 { // the directory, sub, a, b and the link
		t.Errorf("%d inodes", got.Inodes)
	}
	if got.Bytes < 128<<10 || got.Bytes > 256<<10 {
		t.Errorf("%d bytes, want about %d", got.Bytes, 128<<10)
	}
	if got, err := diskUsage(t.Context(), filepath.Join(dir, "none"), nil); got != (Usage{}) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %+v %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := diskUsage(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a walk that is called off: %v", err)
	}
}

func TestDiskUsage_CountsFilesWithSeveralNamesOnceHoweverManyThereAre(t *testing.T) {
	dir := treetest.Memory(t)
	const files = maxLinked + 1000
	treetest.Wide(t, dir, files)
	for i := range files {
		if err := os.Link(fmt.Sprintf("%s/%08d", dir, i), fmt.Sprintf("%s/again%d", dir, i)); err != nil {
			t.Fatal(err)
		}
	}
	most := treetest.Watch(t, func() {
		if got := measure(t, dir); got.Inodes != files+1 {
			t.Errorf("%d inodes, want %d", got.Inodes, files+1)
		}
	})
	if most.Heap > 8<<20 {
		t.Errorf("it took %d KiB of heap", most.Heap>>10)
	}
}

func TestDiskUsage_TakesTheSameForEveryTree(t *testing.T) {
	for name, tc := range map[string]struct {
		build  func(dir string)
		inodes int64
	}{
		"nested 5000 deep": {func(dir string) { treetest.Deep(t, dir, 5000) }, 5002},
		"50000 files":      {func(dir string) { treetest.Wide(t, dir, 50000) }, 50001},
	} {
		t.Run(name, func(t *testing.T) {
			dir := treetest.Memory(t)
			tc.build(dir)
			reports := int64(0)
			most := treetest.Watch(t, func() {
				used, err := diskUsage(t.Context(), dir, func(sofar Usage) {
					if reports++; sofar.Inodes != reports*reportEvery {
						t.Errorf("report %d: %+v", reports, sofar)
					}
				})
				if used.Inodes != tc.inodes || err != nil {
					t.Errorf("%d inodes, want %d: %v", used.Inodes, tc.inodes, err)
				}
			})
			if most.Heap > 8<<20 || most.FDs > 24 {
				t.Errorf("it took %d KiB of heap and %d descriptors", most.Heap>>10, most.FDs)
			}
			if reports != (tc.inodes-1)/reportEvery {
				t.Errorf("%d reports", reports)
			}
		})
	}
}

// Nothing can be hidden below more directories than a walk goes down.
func TestDiskUsage_CountsAllOfTheDiskForATreeThatIsTooDeep(t *testing.T) {
	dir := treetest.Memory(t)
	write(t, filepath.Join(dir, "beside"), 8<<20)
	tree := filepath.Join(dir, "tree")
	write(t, filepath.Join(tree, "small"), 1)
	treetest.Deep(t, tree, 17000)
	if got := measure(t, tree); got.Bytes < 8<<20 || got.Inodes < 17000 {
		t.Errorf("%+v", got)
	}
}

func BenchmarkDiskUsage(b *testing.B) {
	for _, on := range []string{"memory", "disk"} {
		b.Run(on, func(b *testing.B) {
			dir := b.TempDir()
			if on == "memory" {
				dir = treetest.Memory(b)
			}
			treetest.Plain(b, dir, 100, 100)
			b.ReportAllocs()
			for b.Loop() {
				if used, err := diskUsage(b.Context(), dir, func(Usage) {}); err != nil || used.Inodes != 10101 {
					b.Fatal(used, err)
				}
			}
		})
	}
}
