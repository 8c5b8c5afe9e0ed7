package subpath

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// TestBind_NeverBindsWhatARaceLeadsTo swaps a directory of the volume for a link to the node's own while it is bound, as a
// hostile container can (CVE-2017-1002101): what is bound is the volume's, or it is an error.
func TestBind_NeverBindsWhatARaceLeadsTo(t *testing.T) {
	root, podDir, secret := t.TempDir(), t.TempDir(), t.TempDir()
	t.Cleanup(func() {
		if err := Undo(context.Background(), podDir, func(string) bool { return true }); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(secret, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	real, link, at := filepath.Join(root, "real"), filepath.Join(root, "link"), filepath.Join(root, "at")
	if err := errors.Join(os.Mkdir(real, 0o755), os.Symlink(secret, link)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(real, at)
			_ = os.Rename(at, real)
			_ = os.Rename(link, at)
			_ = os.Rename(at, link)
		}
	})
	bound := 0
	// On a busy machine the directory may hardly ever be seen in its place: the race goes on until it was.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := 0; i < 300 || bound == 0 && ctx.Err() == nil; i++ {
		place, err := Bind(t.Context(), podDir, Mount{Volume: "v", Root: root, Container: "c", Index: i % 3, Path: "at"})
		if err != nil {
			continue
		}
		bound++
		if _, err := os.Lstat(filepath.Join(place, "precious")); err == nil {
			t.Error("the node's own directory is bound")
			break
		}
	}
	close(stop)
	swapping.Wait()
	if bound == 0 {
		t.Error("nothing was ever bound: the race was not run")
	}
	if entries, err := os.ReadDir(secret); err != nil || len(entries) != 1 {
		t.Errorf("the node's directory holds %v, %v", entries, err)
	}
	if mounts, err := hostfs.MountsBelow(secret); err != nil || len(mounts) > 0 {
		t.Errorf("mounts %q, %v", mounts, err)
	}
}
