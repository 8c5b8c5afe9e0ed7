package cni

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/containernetworking/cni/pkg/types"
)

func TestRelease_ReplaysDelForWhatTheRuntimeForgot(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"alive", "dead", "new"} {
		w.do("ADD", id)
	}
	w.backdate("alive", time.Hour)
	w.backdate("dead", time.Hour)
	w.calls()
	live := func(id string) bool { return id == "alive" }

	w.touch("fail-del")
	left, err := w.node.Release(t.Context(), live)
	if left != 2 || err == nil {
		t.Errorf("left %d, %v; want 2 (the failed one, and one that may be in the making) and the failure", left, err)
	}
	w.remove(w.state + "/fail-del")
	left, err = w.node.Release(t.Context(), live)
	if left != 1 || err != nil {
		t.Errorf("left %d, %v; want 1", left, err)
	}
	w.remove(w.netns) // as after a reboot: nothing can be in the making
	left, err = w.node.Release(t.Context(), live)
	if left != 0 || err != nil {
		t.Errorf("left %d, %v; want none", left, err)
	}
	if diff := cmp.Diff([]string{"alive"}, w.journalled()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DEL dead eth0", "DEL dead eth0", "DEL new eth0"}, w.calls()); diff != "" {
		t.Error(diff)
	}
}

func (w *world) backdate(id string, by time.Duration) {
	w.t.Helper()
	all, err := w.node.journal.list(id)
	if err != nil || len(all) != 1 {
		w.t.Fatalf("journal of %s: %v, %v", id, all, err)
	}
	all[0].Created = all[0].Created.Add(-by)
	if err := w.node.journal.put(all[0]); err != nil {
		w.t.Fatal(err)
	}
}

func TestRelease_LeavesAContainerThatIsWorkedOn(t *testing.T) {
	w := newWorld(t)
	w.do("ADD", "c1")
	w.backdate("c1", time.Hour)
	l, err := tryTake(w.node.lockPath(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := w.node.Release(t.Context(), func(string) bool { return false }); left != 1 || err == nil {
		t.Errorf("left %d, %v; want 1 and why", left, err)
	}
	l.release()
}

func TestGC_KeepsTheValidOnes(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"c1", "c2", "c3"} {
		w.do("ADD", id)
	}
	w.backdate("c2", time.Hour)
	if err := w.node.gc(t.Context(), []types.GCAttachment{{ContainerID: "c1", IfName: "eth0"}}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"c1", "c3"}, w.journalled()); diff != "" {
		t.Error(diff)
	}
	results, _ := filepath.Glob(w.dir + "/results/*")
	if len(results) != 2 {
		t.Errorf("stored results: %v, want those of c1 and c3", results)
	}
}

func TestRelease_SweepsWhatAKillLeft(t *testing.T) {
	w := newWorld(t)
	w.do("ADD", "c1")
	old := filepath.Join(w.dir, "attachments", ".new-123")
	writing := filepath.Join(w.dir, "attachments", ".new-456")
	for _, path := range []string{old, writing} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := w.node.Release(t.Context(), func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{old: false, writing: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it to exist: %v", path, err, want)
		}
	}
}
