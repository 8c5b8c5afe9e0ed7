package logs

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minikubelet/minikubelet/pkg/hosttree/treetest"
)

// A pod that may write to /var/log can make any number of files there.
func TestLogs_TakeTheSameHoweverManyFilesThereAre(t *testing.T) {
	root := treetest.Memory(t)
	dir := filepath.Join(root, "shop_web_uid", "c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	treetest.Wide(t, dir, 60000)
	for name, size := range map[string]int{"0.log": 1, "3.log": 100, "2.log.20260101-000000": 1} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	r := NewRotator(RotateConfig{
		Root: root, MaxSize: 50, Log: slog.New(slog.DiscardHandler),
		Running: func(_ context.Context, uid, container string, attempt uint32) (string, error) {
			if asked++; uid != "uid" || container != "c" || attempt != 3 {
				t.Errorf("asked for %s %s %d", uid, container, attempt)
			}
			return "", nil
		},
	})
	most := treetest.Watch(t, func() {
		if err := r.pass(t.Context(), time.Now()); err != nil || asked != 1 {
			t.Errorf("asked %d times: %v", asked, err)
		}
		if _, err := tidy(filepath.Join(dir, "0.log"), 5); err != nil {
			t.Error(err)
		}
		if err := RemoveEarlier(dir, 3); err != nil {
			t.Error(err)
		}
		if err := UnlinkDangling(dir, root); err != nil {
			t.Error(err)
		}
	})
	if most.Heap > 4<<20 {
		t.Errorf("it took %d KiB of heap", most.Heap>>10)
	}
}

func TestRemoveDir_RemovesLogsBehindALinkToAllOfThem(t *testing.T) {
	dir := t.TempDir()
	disk, link := filepath.Join(dir, "disk"), filepath.Join(dir, "pods")
	if err := os.MkdirAll(filepath.Join(disk, "shop_web_uid", "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("disk", link); err != nil {
		t.Fatal(err)
	}
	for _, all := range []string{link, link, filepath.Join(dir, "none")} {
		if err := RemoveDir(t.Context(), filepath.Join(all, "shop_web_uid")); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, disk); len(got) != 0 {
		t.Errorf("%q are left", got)
	}
}
