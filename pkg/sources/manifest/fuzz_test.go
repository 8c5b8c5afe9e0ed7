package manifest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/test/podcorpus"
)

// FuzzDecode holds whatever is taken to what the rest of the agent relies on: names that are safe as parts of paths, no
// path that leaves its volume, defaults that a second look does not change, and a pod that survives being written down.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		found, problems := Decode(data, here)
		for _, p := range problems {
			if p.Text == "" {
				t.Errorf("a problem without text: %+v", p)
			}
		}
		seen := map[objects.Key]bool{}
		for _, o := range found {
			if seen[o.Key()] {
				t.Errorf("%s is there twice", o.Key())
			}
			seen[o.Key()] = true
			safe(t, "name", o.Key().Name)
			if p, ok := o.Object.(*v1.Pod); ok {
				checkPod(t, p)
			}
		}
	})
}

func seed(f *testing.F) {
	f.Helper()
	f.Add([]byte(minimal))
	f.Add([]byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: eA==}\n---\nkind: [\n"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, binaryData: {k: eA==}}]\n"))
	f.Add([]byte("a: &a [x]\nb: [*a, *a]\n"))
	corpus, err := podcorpus.Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range corpus {
		f.Add(c.Manifest)
	}
	examples, err := filepath.Glob("../../../examples/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range examples {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func checkPod(t *testing.T, p *v1.Pod) {
	safe(t, "namespace", p.Namespace)
	safe(t, "uid", string(p.UID))
	for _, v := range p.Spec.Volumes {
		safe(t, "volume", v.Name)
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		safe(t, "container", c.Name)
		for _, m := range c.VolumeMounts {
			if filepath.IsAbs(m.SubPath) || slices.Contains(strings.Split(m.SubPath, "/"), "..") {
				t.Errorf("subPath %q leaves its volume", m.SubPath)
			}
		}
	}
	again := p.DeepCopy()
	defaultPod(again)
	if !equality.Semantic.DeepEqual(p, again) {
		t.Errorf("defaults change what has them:\n%s", cmp.Diff(p, again))
	}
	written, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	read := &v1.Pod{}
	if err := json.Unmarshal(written, read); err != nil || !equality.Semantic.DeepEqual(p, read) {
		t.Errorf("it does not survive being written down: %v\n%s", err, cmp.Diff(p, read))
	}
	if p.Annotations[pod.AnnotationHash] == "" || !strings.HasSuffix(p.Name, "-node-1") {
		t.Errorf("it has no identity: %+v", p.ObjectMeta)
	}
}

var plainName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

func safe(t *testing.T, what, name string) {
	t.Helper()
	if !plainName.MatchString(name) || strings.Contains(name, "..") {
		t.Errorf("%s %q is taken", what, name)
	}
}
