package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
	"github.com/minikubelet/minikubelet/test/podcorpus"
)

var updateCorpus = flag.Bool("update-corpus", false, "write what the API server says into test/podcorpus/cases")

// TestSources_RulesAreTheAPIServers asks a real API server, by server-side dry runs, about every pod of the corpus: the
// record of what it refuses must be true, and of what it takes it must make the same pod as the node does. That the node
// agrees with the record is a unit test of package manifest.
func TestSources_RulesAreTheAPIServers(t *testing.T) {
	t.Parallel()
	corpus, err := podcorpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	api := newDryRun(t, testbed.New(t).APIServer())
	answers := make([]answer, len(corpus))
	var all sync.WaitGroup
	work := make(chan int)
	for range 4 {
		all.Go(func() {
			for i := range work {
				answers[i] = api.create(t.Context(), corpus[i])
			}
		})
	}
	for i := range corpus {
		work <- i
	}
	close(work)
	all.Wait()
	if *updateCorpus {
		writeCorpus(t, corpus, answers)
	}
	for i, c := range corpus {
		t.Run(c.Name(), func(t *testing.T) {
			if answers[i].err != nil {
				t.Fatal(answers[i].err)
			}
			if d := cmp.Diff(c.Refused, answers[i].refused); d != "" && !*updateCorpus {
				t.Errorf("the record is not what the API server says: %s (-record +said)\n%s", answers[i].message, d)
			}
			if len(answers[i].refused) == 0 && c.Why == "" {
				sameDefaults(t, c, answers[i].object)
			}
		})
	}
}

// sameDefaults compares an object as the API server made it with the node's, a pod without what makes it a static pod.
func sameDefaults(t *testing.T, c podcorpus.Case, server runtime.Object) {
	t.Helper()
	const node = "node"
	found, problems := manifest.Decode(c.Manifest, manifest.Origin{Source: pod.SourceFile, Name: c.File, Node: node})
	if len(found) != 1 {
		t.Errorf("the API server takes it, the node does not: %v", problems)
		return
	}
	var want, got any
	switch ours := found[0].Object.(type) {
	case *v1.Pod:
		ours, s := ours.DeepCopy(), server.(*v1.Pod)
		ours.Spec.NodeName = s.Spec.NodeName // the node's own, always
		every := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
		ours.Spec.Tolerations = slices.DeleteFunc(ours.Spec.Tolerations, func(t v1.Toleration) bool { return t == every })
		want, got = s.Spec, ours.Spec
	case *v1.ConfigMap:
		s := server.(*v1.ConfigMap)
		want, got = [3]any{s.Data, s.BinaryData, s.Immutable}, [3]any{ours.Data, ours.BinaryData, ours.Immutable}
	case *v1.Secret:
		s := server.(*v1.Secret)
		want, got = [3]any{s.Data, s.Type, s.Immutable}, [3]any{ours.Data, ours.Type, ours.Immutable}
	case *v1.PersistentVolume:
		want, got = server.(*v1.PersistentVolume).Spec, ours.Spec
	case *v1.PersistentVolumeClaim:
		want, got = server.(*v1.PersistentVolumeClaim).Spec, ours.Spec
	}
	if !equality.Semantic.DeepEqual(want, got) {
		t.Errorf("defaults (-API server +node):\n%s", cmp.Diff(want, got))
	}
}

// dryRun asks an API server what it would make of objects.
type dryRun struct{ rest rest.Interface }

func newDryRun(t *testing.T, cp *testbed.ControlPlane) dryRun {
	t.Helper()
	testbed.Eventually(t, soon, "the default namespace exists", func() error {
		_, err := cp.Client().CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return dryRun{cp.Client().CoreV1().RESTClient()}
}

// answer is the object as it would be stored, or the fields that are refused.
type answer struct {
	object  runtime.Object
	refused []string
	message string
	err     error
}

func (d dryRun) create(ctx context.Context, c podcorpus.Case) answer {
	into := map[string]runtime.Object{"Pod": &v1.Pod{}, "ConfigMap": &v1.ConfigMap{}, "Secret": &v1.Secret{},
		"PersistentVolume": &v1.PersistentVolume{}, "PersistentVolumeClaim": &v1.PersistentVolumeClaim{}}
	a := answer{object: into[c.Kind]}
	err := d.rest.Post().NamespaceIfScoped("default", c.Kind != "PersistentVolume").Resource(strings.ToLower(c.Kind)+"s").
		Param("dryRun", metav1.DryRunAll).Param("fieldValidation", metav1.FieldValidationStrict).
		SetHeader("Content-Type", "application/json").Body(c.Manifest).Do(ctx).Into(a.object)
	status, refused := errors.AsType[*apierrors.StatusError](err)
	if !refused {
		a.err = err
		return a
	}
	s := status.Status()
	a.message = s.Message
	switch {
	case s.Code == http.StatusBadRequest: // it cannot be read, and no field is told
		a.refused = []string{"unreadable"}
	case s.Details == nil || len(s.Details.Causes) == 0:
		a.err = err
	default:
		for _, c := range s.Details.Causes {
			a.refused = append(a.refused, strings.ReplaceAll(c.Field, ", ", "+")) // {a, b} where a pair is meant
		}
		slices.Sort(a.refused)
		a.refused = slices.Compact(a.refused)
	}
	return a
}

// writeCorpus records the answers in the files of the corpus; what is written of the node stays.
func writeCorpus(t *testing.T, corpus []podcorpus.Case, answers []answer) {
	t.Helper()
	said := map[string]string{}
	for i, c := range corpus {
		if answers[i].err != nil {
			t.Errorf("%s: %v", c.Name(), answers[i].err)
			continue
		}
		said[c.File+c.Line] = strings.Join(answers[i].refused, ", ")
	}
	dir := filepath.Join(testbed.RepoRoot(t), "test", "podcorpus", "cases")
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(string(old)) {
			line = strings.TrimSpace(line)
			what, verdict, _ := strings.Cut(line, " -> ")
			fields, known := said[filepath.Base(path)+what]
			if !known {
				fmt.Fprintln(&out, line)
				continue
			}
			_, own, differs := strings.Cut(verdict, " | ")
			switch {
			case differs && fields == "":
				fmt.Fprintf(&out, "%s -> ok | %s\n", what, own)
			case differs:
				fmt.Fprintf(&out, "%s -> %s | %s\n", what, fields, own)
			case fields != "":
				fmt.Fprintf(&out, "%s -> %s\n", what, fields)
			default:
				fmt.Fprintln(&out, what)
			}
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
