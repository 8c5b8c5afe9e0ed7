package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/minikubelet/minikubelet/pkg/sync/plan"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const refreshedPod = `
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  containers: [{name: main, image: IMAGE, command: [sh, -c, "RUN"], volumeMounts: [{name: words, mountPath: /words}]}]
  volumes: [{name: words, configMap: {name: words}}]
`

// TestCrash_WhileAVolumeIsRefreshed kills the agent around the refresh that a changed ConfigMap calls for. Started again, it
// brings the volume up to date; the container runs on.
func TestCrash_WhileAVolumeIsRefreshed(t *testing.T) {
	t.Parallel()
	n := newCrashNode(t)
	version := 0
	change := func() {
		version++
		n.a.WriteManifest("of-words.yaml", fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {k: v%d}\n", version))
	}
	var ids map[string]string
	current := func(map[string]string) error {
		pods, err := n.pods()
		if err != nil {
			return err
		}
		p := pods["words"]
		if p == nil || !podReady(p) {
			return errors.New("the pod is not ready")
		}
		got, err := os.ReadFile(filepath.Join(n.a.RootDir, "pods", string(p.UID), "volumes/kubernetes.io~configmap/words/k"))
		if want := fmt.Sprintf("v%d", version); err == nil && string(got) != want {
			err = fmt.Errorf("the volume holds %s, want %s", got, want)
		}
		return err
	}
	n.through("words", "", func() {
		change()
		n.add("words", refreshedPod)
	}, func(map[string]string) error {
		ids = n.ids("words")
		return current(nil)
	})
	for nth, happen := range []func(){change, func() {
		change() // the first refresh may be the one of the start
		testbed.Eventually(t, crashSoon, "the first change is taken up", func() error {
			if !n.a.Process().Running() {
				return nil
			}
			return current(nil)
		})
		change()
	}} {
		for _, edge := range []string{"before", "after"} {
			at := fmt.Sprintf("%s:%s:%d", plan.VolumeRefresh, edge, nth+1)
			if !n.through("words", at, happen, current) {
				t.Errorf("the agent did not meet %s", at)
			}
			if now := n.ids("words"); !maps.Equal(now, ids) {
				t.Errorf("after %s the containers are %v, want %v", at, now, ids)
			}
		}
	}
	n.quiet()
}
