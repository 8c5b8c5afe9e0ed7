package sources

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// looker looks at a directory at the times that a test sets.
type looker struct {
	*directory
	t   *testing.T
	now time.Time
}

func lookAt(t *testing.T, dir string) *looker {
	l := &looker{t: t, now: time.Now().Add(time.Hour)} // what the test writes counts as complete
	l.directory = newDirectory(Files{Path: dir, Node: "n", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return l.now }}, pod.SourceFile)
	return l
}

// says looks again after a time, and compares the pods.
func (l *looker) says(after time.Duration, want ...string) {
	l.t.Helper()
	l.now = l.now.Add(after)
	l.apply(changes{all: true})
	u := l.update()
	if d := cmp.Diff(want, images(u)); d != "" || len(u.Problems) > 0 {
		l.t.Errorf("pods (-want +got):\n%s\nproblems: %v", d, u.Problems)
	}
}

func TestFiles_TakeAFileForRemovedWhenItStaysAway(t *testing.T) {
	dir := t.TempDir()
	a, aside := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "a.yaml~")
	write(t, a, podYAML("a", "one"))
	l := lookAt(t, dir)
	l.says(0, "a=one")
	before := l.update().Pods[0]

	rename(t, a, aside) // what vim does by default
	l.says(absentFile/2, "a=one")
	write(t, a, podYAML("a", "one"))
	l.says(absentFile, "a=one")
	if l.update().Pods[0] != before {
		t.Error("a pod that did not change is another one")
	}

	remove(t, a)
	l.says(absentFile/2, "a=one")
	write(t, a, podYAML("a", "two"))
	l.says(absentFile, "a=two")

	remove(t, a)
	l.says(0, "a=two")
	l.says(absentFile-1, "a=two")
	l.says(1)
}

func TestFiles_ARenamedFileIsNoSecondOne(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), podYAML("a", "one"))
	l := lookAt(t, dir)
	l.says(0, "a=one")
	rename(t, filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml"))
	l.says(1, "a=one")
	l.says(absentFile, "a=one")
	rename(t, filepath.Join(dir, "b.yaml"), filepath.Join(dir, "c.yaml"))
	write(t, filepath.Join(dir, "c.yaml"), podYAML("a", "two"))
	l.says(1, "a=two")
	l.says(absentFile, "a=two")
}

func TestFiles_AnObjectEditedBesideAPodLeavesThePod(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a.yaml")
	const config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: %s}\n"
	write(t, a, podYAML("a", "one")+fmt.Sprintf(config, "x"))
	l := lookAt(t, dir)
	l.says(0, "a=one")
	before := l.update().Pods[0]
	remove(t, a)
	l.says(1, "a=one")
	write(t, a, podYAML("a", "one")+fmt.Sprintf(config, "z"))
	l.says(1, "a=one")
	if u := l.update(); u.Pods[0] != before || all[*v1.ConfigMap](u)[0].Data["k"] != "z" {
		t.Errorf("the pod is the same one: %t, data %v", u.Pods[0] == before, all[*v1.ConfigMap](u)[0].Data)
	}
}

func TestFiles_TakeADirectoryForRemovedWhenItStaysAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	fill := func() {
		t.Helper()
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	write(t, filepath.Join(dir, "a.yaml"), podYAML("a", "one"))
	l := lookAt(t, dir)
	l.says(0, "a=one")

	rename(t, dir, dir+".old")
	l.says(absentFile, "a=one")
	l.says(absentDirectory/2, "a=one")
	rename(t, dir+".old", dir)
	l.says(absentDirectory, "a=one")

	rename(t, dir, dir+".old") // exchanged for an empty one, as when a mount goes
	fill()
	l.says(0, "a=one")
	l.says(absentDirectory-1, "a=one")
	l.says(1)
	write(t, filepath.Join(dir, "a.yaml"), podYAML("a", "two"))
	l.says(0, "a=two")

	remove(t, dir)
	l.says(0, "a=two")
	l.says(absentDirectory)
}

func TestFiles_AreNotWholeAtTheirFirstLook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	for _, exists := range []bool{false, true} {
		l, long := lookAt(t, dir), absentDirectory
		if exists {
			long = absentFile
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		l.says(0)
		l.says(long - 1)
		if !l.update().Partial {
			t.Errorf("directory exists: %t: what is missing counts as removed after %s", exists, long-1)
		}
		if at := l.nextRetry(); !at.Equal(l.now.Add(1)) {
			t.Errorf("directory exists: %t: looks again in %s", exists, at.Sub(l.now))
		}
		l.says(1)
		if l.update().Partial {
			t.Errorf("directory exists: %t: it never becomes whole", exists)
		}
	}
}
