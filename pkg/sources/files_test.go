package sources

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
)

func podYAML(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: %q}]}\n", name, image)
}

// observer collects what a source emits.
type observer struct {
	t       *testing.T
	updates chan Update
}

// watchFiles runs a source until the test ends.
func watchFiles(t *testing.T, path string) *observer {
	t.Helper()
	return observe(t, func(emit func(Update)) {
		Files{Path: path, Node: "n", Rescan: time.Hour, Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), emit)
	})
}

func observe(t *testing.T, run func(emit func(Update))) *observer {
	o := &observer{t: t, updates: make(chan Update, 10_000)}
	var wg sync.WaitGroup
	wg.Go(func() { run(func(u Update) { o.updates <- u }) })
	t.Cleanup(wg.Wait)
	return o
}

// until waits for an update and fails the test when it does not come.
func (o *observer) until(what string, ok func(Update) bool) Update {
	o.t.Helper()
	var last Update
	for timeout := time.After(10 * time.Second); ; {
		select {
		case last = <-o.updates:
			if ok(last) {
				return last
			}
		case <-timeout:
			o.t.Fatalf("no update with %s; the last has pods %v and problems %v", what, images(last), last.Problems)
		}
	}
}

// pods waits for exactly these pods, as name=image.
func (o *observer) pods(want ...string) Update {
	o.t.Helper()
	return o.until(fmt.Sprint(want), func(u Update) bool { return slices.Equal(images(u), want) && len(u.Problems) == 0 })
}

// whole waits until the first look is over.
func (o *observer) whole() Update {
	o.t.Helper()
	return o.until("the whole", func(u Update) bool { return !u.Partial })
}

// problem waits for one problem that has a text.
func (o *observer) problem(text string) Update {
	o.t.Helper()
	return o.until(text, func(u Update) bool { return len(u.Problems) == 1 && strings.Contains(u.Problems[0].String(), text) })
}

func images(u Update) []string {
	var out []string
	for _, p := range u.Pods {
		out = append(out, strings.TrimSuffix(p.Name, "-n")+"="+p.Spec.Containers[0].Image)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// place writes a file aside and renames it into place, and dates it back so that it counts as written long ago.
func place(t *testing.T, path, text string) {
	t.Helper()
	aside := filepath.Join(t.TempDir(), "x")
	write(t, aside, text)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(aside, old, old); err != nil {
		t.Fatal(err)
	}
	rename(t, aside, path)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestFiles_FollowsADirectory(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(dir, "a.yaml"), podYAML("a", "one"))
	o := watchFiles(t, dir)
	first := o.pods("a=one")
	if first.Pods[0].Annotations["kubernetes.io/config.seen"] == "" {
		t.Error("config.seen is not set")
	}
	write(t, filepath.Join(dir, "b.json"), `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"x"}]}}`)
	o.pods("a=one", "b=x")
	write(t, filepath.Join(dir, "a.yaml"), podYAML("a", "two"))
	second := o.pods("a=two", "b=x")
	if second.Pods[0].UID == first.Pods[0].UID {
		t.Error("an edited pod has a new UID")
	}
	rename(t, filepath.Join(dir, "a.yaml"), filepath.Join(dir, "z.yml"))
	third := o.pods("b=x", "a=two")
	if third.Pods[1].UID != second.Pods[0].UID || third.Pods[1].Annotations["kubernetes.io/config.seen"] != second.Pods[0].Annotations["kubernetes.io/config.seen"] {
		t.Error("a renamed file's pod stays what it was")
	}
	remove(t, filepath.Join(dir, "b.json"))
	o.pods("a=two")
}

func TestFiles_IgnoresWhatEditorsLeave(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.yaml", ".a.yaml.swp", "a.yaml~", "#a.yaml#", "4913", "a.yaml.bak", "README", ".#a.yaml"} {
		place(t, filepath.Join(dir, name), podYAML("no", "x"))
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	place(t, filepath.Join(dir, "a.yaml"), podYAML("a", "x"))
	watchFiles(t, dir).pods("a=x")
}

func TestFiles_NeverTakesAHalfWrittenFile(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(dir, "a.yaml"), podYAML("a", "old"))
	o := watchFiles(t, dir)
	o.pods("a=old")
	f, err := os.Create(filepath.Join(dir, "a.yaml")) // empties it
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range []string{"apiVersion: v1\nkind: ConfigMap\n", "metadata: {name: half}\n"} { // valid at every step
		if _, err := f.WriteString(half); err != nil {
			t.Fatal(err)
		}
		place(t, filepath.Join(dir, "b.yaml"), podYAML("b", half[:4])) // something else changes meanwhile
		o.pods("a=old", "b="+half[:4])
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	u := o.pods("b=meta")
	if len(all[*v1.ConfigMap](u)) != 1 {
		t.Errorf("config maps %v", all[*v1.ConfigMap](u))
	}
}

func TestFiles_KeepsWhatABrokenFileSaidBefore(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a.yaml")
	place(t, a, podYAML("a", "one")+"---\n"+podYAML("b", "one"))
	o := watchFiles(t, dir)
	o.pods("a=one", "b=one")
	place(t, a, podYAML("a", "two")+"---\nkind: [\n")
	u := o.problem("a.yaml: document 2: line 7: not valid YAML")
	if d := cmp.Diff([]string{"a=two", "b=one"}, images(u)); d != "" {
		t.Error(d)
	}
	place(t, a, "")
	u = o.problem("it is empty: delete the file")
	if d := cmp.Diff([]string{"a=two", "b=one"}, images(u)); d != "" {
		t.Error(d)
	}
	place(t, a, podYAML("a", "three"))
	o.pods("a=three")
	place(t, a, "# nothing for now\n")
	o.pods()
}

func TestFiles_IsPartialWhileAFileWasNeverGood(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(dir, "a.yaml"), "kind: Pod\n")
	place(t, filepath.Join(dir, "b.yaml"), podYAML("b", "x"))
	o := watchFiles(t, dir)
	if u := o.problem("must be v1 for kind Pod"); !u.Partial || len(u.Pods) != 1 {
		t.Errorf("partial %t, pods %v", u.Partial, images(u))
	}
	place(t, filepath.Join(dir, "a.yaml"), podYAML("a", "x"))
	o.pods("a=x", "b=x")
	if u := o.whole(); len(u.Pods) != 2 {
		t.Errorf("pods %v once it is good", images(u))
	}
}

func TestFiles_ReportsTheSecondOfTwoWithOneName(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(dir, "a.yaml"), podYAML("p", "first"))
	place(t, filepath.Join(dir, "b.yaml"), podYAML("p", "second"))
	o := watchFiles(t, dir)
	u := o.problem("b.yaml: document 1: line 3: metadata.name: Pod default/p-n is also in a.yaml, which is used")
	if d := cmp.Diff([]string{"p=first"}, images(u)); d != "" {
		t.Error(d)
	}
	remove(t, filepath.Join(dir, "a.yaml"))
	o.pods("p=second")
}

func TestFiles_KeepsWhatRunsWhenANewFileTakesItsName(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(dir, "b.yaml"), podYAML("p", "first"))
	o := watchFiles(t, dir)
	o.pods("p=first")
	place(t, filepath.Join(dir, "a.yaml"), podYAML("p", "second"))
	u := o.problem("a.yaml: document 1: line 3: metadata.name: Pod default/p-n is also in b.yaml, which is used")
	if d := cmp.Diff([]string{"p=first"}, images(u)); d != "" {
		t.Error(d)
	}
	place(t, filepath.Join(dir, "b.yaml"), podYAML("q", "other"))
	o.pods("p=second", "q=other")
}

func TestFiles_RefusesToChangeWhatIsImmutable(t *testing.T) {
	const fixed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, labels: {a: %s}}\ndata: {k: %s}\nimmutable: %s\n---\n" +
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: %s}\nimmutable: true\n"
	dir := t.TempDir()
	path := filepath.Join(dir, "m.yaml")
	place(t, path, fmt.Sprintf(fixed, "x", "one", "true", "one"))
	o := watchFiles(t, dir)
	says := func(label, value string, problems ...string) {
		t.Helper()
		u := o.until(fmt.Sprint(label, value, problems), func(u Update) bool {
			return len(all[*v1.ConfigMap](u)) == 1 && len(all[*v1.Secret](u)) == 1 && all[*v1.ConfigMap](u)[0].Labels["a"] == label && len(u.Problems) == len(problems)
		})
		if all[*v1.ConfigMap](u)[0].Data["k"] != value || string(all[*v1.Secret](u)[0].Data["k"]) != value {
			t.Errorf("data %v and %s", all[*v1.ConfigMap](u)[0].Data, all[*v1.Secret](u)[0].Data)
		}
		for i, p := range problems {
			if got := u.Problems[i].String(); !strings.Contains(got, p) {
				t.Errorf("problem %q, want %q", got, p)
			}
		}
	}
	says("x", "one")
	place(t, path, fmt.Sprintf(fixed, "w", "one", "true", "one"))
	says("w", "one")
	place(t, path, fmt.Sprintf(fixed, "z", "two", "true", "two"))
	says("w", "one", "m.yaml: document 1: line 3: immutable: ConfigMap default/m is immutable, and keeps what it said before: give it another name",
		"m.yaml: document 2: line 9: immutable: Secret default/s is immutable")
	place(t, path, fmt.Sprintf(fixed, "z", "one", "false", "one"))
	says("w", "one", "document 1: line 3: immutable: ConfigMap default/m is immutable")
	remove(t, path)
	o.until("nothing", func(u Update) bool { return len(all[*v1.ConfigMap](u)) == 0 && len(u.Problems) == 0 })
	place(t, path, fmt.Sprintf(fixed, "z", "two", "true", "two"))
	says("z", "two")
}

func TestFiles_TakesADirectoryThatAppearsLater(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "etc", "manifests")
	o := watchFiles(t, dir)
	o.pods()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	place(t, filepath.Join(dir, "a.yaml"), podYAML("a", "x"))
	o.pods("a=x")
	rename(t, dir, dir+".old")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	place(t, filepath.Join(dir, "b.yaml"), podYAML("b", "x"))
	o.pods("a=x", "b=x")
}

func TestFiles_TakesOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pod")
	o := watchFiles(t, path)
	o.pods()
	write(t, path, podYAML("a", "one"))
	o.pods("a=one")
	place(t, filepath.Join(filepath.Dir(path), "other.yaml"), podYAML("b", "x"))
	write(t, path, podYAML("a", "two"))
	o.pods("a=two")
}

func TestFiles_FollowsLinksThatAreExchanged(t *testing.T) {
	dir := t.TempDir()
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, "..v"+v), 0o700); err != nil {
			t.Fatal(err)
		}
		place(t, filepath.Join(dir, "..v"+v, "a.yaml"), podYAML("a", v))
	}
	link("..v1", "..data")
	link("..data/a.yaml", "a.yaml")
	o := watchFiles(t, dir)
	o.pods("a=1")
	link("..v2", "..tmp")
	rename(t, filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
	o.pods("a=2")
}

func TestFiles_TakesAThousandFiles(t *testing.T) {
	dir := t.TempDir()
	o := watchFiles(t, dir)
	for i := range 1000 {
		write(t, filepath.Join(dir, fmt.Sprintf("%04d.yaml", i)), podYAML(fmt.Sprintf("p%d", i), "x"))
	}
	o.until("1000 pods", func(u Update) bool { return len(u.Pods) == 1000 && len(u.Problems) == 0 })
}

func BenchmarkFiles_WrittenToEmitted(b *testing.B) {
	dir := b.TempDir()
	updates := make(chan Update, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		Files{Path: dir, Node: "n", Log: slog.New(slog.DiscardHandler)}.Run(b.Context(), func(u Update) { updates <- u })
	})
	<-updates
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(podYAML("a", fmt.Sprint(i))), 0o600); err != nil {
			b.Fatal(err)
		}
		<-updates
	}
	b.Cleanup(wg.Wait)
}

// all are an update's objects of a type.
func all[P objects.Object](u Update) (out []P) {
	for _, o := range u.Objects {
		if p, ok := o.(P); ok {
			out = append(out, p)
		}
	}
	return out
}
