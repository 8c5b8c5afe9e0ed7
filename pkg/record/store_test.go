package record

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func sample(uid types.UID) pod.Record {
	return pod.Record{
		Pod:      &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: uid}},
		Source:   pod.SourceFile,
		Stop:     &pod.Stop{Grace: 30 * time.Second, At: time.Unix(1700000000, 0).UTC(), By: "file", Remove: true},
		Verdict:  &pod.Verdict{Phase: v1.PodFailed, Reason: "Evicted", At: time.Unix(1700000001, 0).UTC()},
		Attempts: map[string]uint32{"web": 3},
		Hooks:    map[string]pod.Hooks{"c1": {PreStop: pod.HookBegun}},
		Released: []string{"s1"},
	}
}

func TestStore_LoadsWhatWasSaved(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[types.UID]pod.Record{"a-1": sample("a-1"), "b-2": sample("b-2")}
	for uid, r := range want {
		for _, sync := range []bool{false, true} {
			if err := s.Save(uid, r, sync); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("loaded records differ (-want +got):\n%s", d)
	}
	if err := s.Delete("a-1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("a-1"); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
	got, _ = s.Load()
	if len(got) != 1 {
		t.Errorf("%d records after a deletion, want 1", len(got))
	}
}

func TestStore_SetsGarbledFilesAsideAndKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save("good", sample("good"), false); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"empty": "", "half": `{"pod":{"metadata":{"na`, "nopod": `{}`, "other": `{"pod":{"metadata":{"uid":"x"}}}`, "binary": "\x00\xff"}
	for name, text := range bad {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bad["directory"], bad["link"] = "", ""
	place := func(name string) string { return filepath.Join(dir, name+".json") }
	if err := errors.Join(os.Mkdir(place("directory"), 0o700), os.Symlink("good.json", place("link"))); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["good"].Pod == nil {
		t.Errorf("loaded %v, want the good one alone", got)
	}
	for name := range bad {
		if _, err := os.Lstat(place(name) + ".bad"); err != nil {
			t.Errorf("%s was not set aside: %v", name, err)
		}
	}
}

func TestStore_RefusesNamesThatLeaveTheDirectory(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []types.UID{"", "../x", "a/b", "A", "."} {
		if err := s.Save(uid, sample(uid), false); err == nil {
			t.Errorf("Save(%q) took the name", uid)
		}
		if err := s.Delete(uid); err == nil {
			t.Errorf("Delete(%q) took the name", uid)
		}
	}
}

func TestOpen_RemovesHalfWrittenFiles(t *testing.T) {
	dir := t.TempDir()
	tmp := filepath.Join(dir, ".new-123")
	if err := os.WriteFile(tmp, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("the half-written file is still there: %v", err)
	}
}

// Whatever is in a record's file, it is either refused or a record that can be saved and read again as the same.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"pod":{"metadata":{"uid":"x"}}}`))
	f.Add([]byte(`{"pod":null,"attempts":{"a":1}}`))
	f.Add([]byte(`{"pod":{"metadata":{"uid":"x"}},"stop":{"grace":5},"backoff":{"a":40000000000},"fromTheFuture":{"a":[1]},"status":{"phase":"Running"}}`))
	if b, err := json.Marshal(sample("x")); err == nil {
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.book.Dir, "x.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := s.book.Take("x.json")
		if err != nil {
			return
		}
		var saved [2][]byte
		for i := range saved {
			if err := s.Save("x", r, false); err != nil {
				t.Fatalf("a record that was read cannot be saved: %v", err)
			}
			if saved[i], err = os.ReadFile(filepath.Join(s.book.Dir, "x.json")); err != nil {
				t.Fatal(err)
			}
			if r, err = s.book.Take("x.json"); err != nil {
				t.Fatalf("a record that was saved cannot be read: %v", err)
			}
		}
		if string(saved[0]) != string(saved[1]) {
			t.Errorf("saved and read again, it is another:\n%s\n%s", saved[0], saved[1])
		}
	})
}
