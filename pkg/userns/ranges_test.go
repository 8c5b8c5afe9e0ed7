package userns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func ranges(t *testing.T, cfg Config, pods ...string) *Ranges {
	t.Helper()
	if cfg.Pods == "" {
		cfg.Pods = t.TempDir()
	}
	for _, p := range pods {
		if err := os.MkdirAll(filepath.Join(cfg.Pods, p), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOf_KeepsRangesApartAndOverRestarts(t *testing.T) {
	dir := t.TempDir()
	r := ranges(t, Config{Pods: dir}, "a", "b", "c", "without")
	want := map[types.UID]Range{"a": {1 << 16, 1 << 16}, "b": {2 << 16, 1 << 16}, "c": {3 << 16, 1 << 16}}
	for _, uid := range []types.UID{"a", "b", "c", "b"} {
		if got, err := r.Of(uid); err != nil || got != want[uid] {
			t.Errorf("Of(%s) = %v, %v; want %v", uid, got, err, want[uid])
		}
	}
	again := ranges(t, Config{Pods: dir})
	if got, err := again.Of("c"); err != nil || got != want["c"] {
		t.Errorf("after a restart, Of(c) = %v, %v; want %v", got, err, want["c"])
	}
	if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	ranges(t, Config{Pods: dir}, "d")
	if got, err := again.Of("d"); err != nil || got != want["b"] {
		t.Errorf("Of(d) = %v, %v; want what b gave back", got, err)
	}
}

func TestOf_GivesConcurrentPodsRangesOfTheirOwn(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("p", i))
	}
	r := ranges(t, Config{Length: 2 << 16}, names...)
	got := make([]Range, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() { got[i], _ = r.Of(types.UID(n)) })
	}
	wg.Wait()
	for i, one := range got {
		if one.Length != 2<<16 || overlaps(got[:i], one) {
			t.Errorf("range %d is %v among %v", i, one, got)
		}
	}
}

func TestOf_RefusesWhatItCannotKnow(t *testing.T) {
	for name, c := range map[string]struct{ content, uid, want string }{
		"no JSON":                   {"{", "new", "remove the pod"},
		"two ranges":                {`{"uidMappings":[{"hostId":1,"length":1},{"hostId":9,"length":1}],"gidMappings":[{"hostId":1,"length":1}]}`, "new", "one range"},
		"nothing":                   {`{}`, "old", "one range"},
		"a UID that leaves its dir": {`{}`, "../x", "no name of a directory"},
		"no UID":                    {`{}`, "", "no name of a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := ranges(t, Config{Pods: dir}, "old", "new")
			if err := os.WriteFile(filepath.Join(dir, "old", fileName), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Of(types.UID(c.uid)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Of(%q) = %v, %v; want an error with %q", c.uid, got, err, c.want)
			}
		})
	}
}

func TestOf_SaysWhenAllRangesAreTaken(t *testing.T) {
	r := ranges(t, Config{Count: 1}, "a", "b")
	if _, err := r.Of("a"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Of("b"); err == nil || !strings.Contains(err.Error(), "all 1 ranges of IDs are taken") {
		t.Errorf("Of(b) = %v, %v", got, err)
	}
}

func TestNew_RefusesUnevenRanges(t *testing.T) {
	for _, cfg := range []Config{{First: 1000}, {Length: 1000}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("New(%+v) took it", cfg)
		}
	}
}
