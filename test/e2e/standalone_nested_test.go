package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const nested = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - name: nest
    image: $web
    args: [nest, /data, "%d"]
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: web
    image: $web
  volumes: [{name: data, emptyDir: {sizeLimit: %s}}]
`

// TestStandaloneNested lets pods nest directories far deeper than a path can name: they are measured, held against their
// limit and removed, and the agent takes no more memory and descriptors for them than for others.
func TestStandaloneNested(t *testing.T) {
	t.Parallel()
	const most = 64 << 10 // KiB that the agent may take for its first pods; one walk with paths takes 500 MiB
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	s.WriteManifest("plain.yaml", pods(fmt.Sprintf(nested, "plain", 1, "1Gi")))
	s.ready("plain")
	before := s.Memory("VmRSS")
	s.ForgetPeak()
	s.WriteManifest("within.yaml", pods(fmt.Sprintf(nested, "within", 3000, "1Gi")))
	s.WriteManifest("over.yaml", pods(fmt.Sprintf(nested, "over", 2000, "4Mi")))
	s.evicted("over", `Usage of EmptyDir volume "data" exceeds the limit "4Mi".`)
	within := s.ready("within")
	deep := s.RootDir + "/pods/" + string(within.UID) + "/volumes/kubernetes.io~empty-dir/data"
	if entries, err := os.ReadDir(deep); err != nil || len(entries) != 1 || len(entries[0].Name()) != 255 {
		t.Errorf("the volume holds %d entries, %v", len(entries), err)
	}
	plain := s.ready("plain")
	s.RemoveManifest("over.yaml")
	s.gone("within.yaml", string(plain.UID))
	peak := s.Memory("VmHWM")
	t.Logf("MEMORY of the agent: %d KiB before, %d KiB at most", before, peak)
	if peak > before+most {
		t.Errorf("the agent has taken %d KiB more than before, want at most %d", peak-before, most)
	}
	s.gone("plain.yaml")
}
