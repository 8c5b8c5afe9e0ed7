package feed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// What the node takes itself for before the API server has spoken must not replace what the server said last.
func TestTaints_AreTheServersWordAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "taints.json")
	taints := &Taints{File: file}
	if got := taints.last(); got != nil {
		t.Errorf("taints that nobody told: %v", got)
	}
	node := func(taints ...v1.Taint) func() *v1.Node {
		return func() *v1.Node { return &v1.Node{Spec: v1.NodeSpec{Taints: taints}} }
	}
	unknown, known := make(chan struct{}), make(chan struct{})
	close(known)
	told := v1.Taint{Key: "k", Effect: v1.TaintEffectNoExecute}
	taints.Keep(known, node(told))
	taints.Keep(unknown, node())
	if d := cmp.Diff([]v1.Taint{told}, (&Taints{File: file}).last()); d != "" {
		t.Error(d)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	taints.Keep(known, node(told))
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was written again with nothing new: %v", err)
	}
	taints.Keep(known, node())
	if got := taints.last(); len(got) != 0 {
		t.Errorf("taints that were taken away: %v", got)
	}
}
