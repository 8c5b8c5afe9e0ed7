package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	mebi     = 1 << 20
	gibi     = 1 << 30
	diskSize = 256 * mebi // of the node's file system in these tests
)

// hungry pods wait for a file of the host, and then take memory, or a volume's space.
const (
	hungry = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "until test -e /host/%s; do sleep 0.05; done; %s; exec sleep 3600"]
    resources: {requests: {memory: %s}}
    volumeMounts: [{name: host, mountPath: /host}, {name: scratch, mountPath: /scratch}]
  volumes: [{name: host, hostPath: {path: "%s"}}, {name: scratch, emptyDir: {%s}}]
`
	eat = "dd if=/dev/zero of=/scratch/eaten bs=1M count=%d"
)

// TestStandaloneEviction lets pods take more than there is, in turn: of their own volume, of the node's memory, of its
// disk. The node's disk is a file system of the test's own. Its memory is the machine's, and others use it too: the pod that
// takes too much takes far more than they do.
func TestStandaloneEviction(t *testing.T) {
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{NotYet: true})
	if err := unix.Mount("tmpfs", s.RootDir, "tmpfs", 0, "size="+strconv.Itoa(diskSize)); err != nil {
		t.Fatal(err)
	}
	host := s.env.Path("host", "x")
	host = strings.TrimSuffix(host, "/x")
	pod := func(name, eats, requests, scratch string) string {
		return pods(fmt.Sprintf(hungry, name, name, eats, requests, host, scratch))
	}
	feed := func(name string) {
		if err := os.WriteFile(host+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Agent = s.env.Agent(testbed.AgentConfig{Containerd: s.cd, NotYet: true, Kubelet: map[string]any{
		"evictionHard":                     map[string]string{"memory.available": strconv.FormatInt(availableMemory(t)-2*gibi, 10), "nodefs.available": "100Mi"},
		"evictionPressureTransitionPeriod": "1s",
	}})
	s.Start()
	s.WriteManifest("meek.yaml", pod("meek", "true", "1Mi", ""))
	s.WriteManifest("limited.yaml", pod("limited", fmt.Sprintf(eat, 8), "1Mi", "sizeLimit: 4Mi"))
	s.WriteManifest("entitled.yaml", pod("entitled", fmt.Sprintf(eat, 50), "200Mi", "medium: Memory"))
	s.WriteManifest("greedy.yaml", pod("greedy", fmt.Sprintf(eat, 4096), "1Mi", "medium: Memory, sizeLimit: 5Gi"))
	s.WriteManifest("hoarder.yaml", pod("hoarder", fmt.Sprintf(eat, 190), "1Mi", ""))
	for _, name := range []string{"meek", "limited", "entitled", "greedy", "hoarder"} {
		s.ready(name)
	}
	feed("limited")
	s.evicted("limited", `Usage of EmptyDir volume "scratch" exceeds the limit "4Mi".`)
	feed("entitled")
	feed("greedy")
	s.pressed(v1.NodeMemoryPressure, v1.ConditionTrue)
	s.evicted("greedy", "The node was low on resource: memory. ")
	s.pressed(v1.NodeMemoryPressure, v1.ConditionFalse)
	feed("hoarder")
	s.pressed(v1.NodeDiskPressure, v1.ConditionTrue)
	p := s.evicted("hoarder", "The node was low on resource: ephemeral-storage. ")
	if err := isCondition(p, v1.DisruptionTarget, v1.ConditionTrue); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"meek", "entitled"} {
		if c := container(s.ready(name), "c"); c.RestartCount != 0 {
			t.Errorf("pod %s was touched: %+v", name, c)
		}
	}
	for _, name := range []string{"limited", "greedy", "hoarder"} {
		s.phase(name, v1.PodFailed) // and not started again
		s.RemoveManifest(name + ".yaml")
	}
	s.pressed(v1.NodeDiskPressure, v1.ConditionFalse)
	s.RemoveManifest("meek.yaml")
	s.gone("entitled.yaml")
}

// availableMemory is the machine's memory.available.
func availableMemory(t *testing.T) int64 {
	t.Helper()
	c := stats.Config{MemoryRoot: "/sys/fs/cgroup/memory", RootDir: "/"}
	if _, err := os.Stat(c.MemoryRoot); err != nil {
		c.MemoryRoot, c.V2 = "/sys/fs/cgroup", true
	}
	n, err := stats.New(c).Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n.Memory.Available
}

// evicted waits until a pod was evicted, and checks what it is told.
func (s *standalone) evicted(name, message string) *v1.Pod {
	s.t.Helper()
	p := s.phase(name, v1.PodFailed)
	if p.Status.Reason != "Evicted" || !strings.HasPrefix(p.Status.Message, message) {
		s.t.Errorf("pod %s failed for %s: %s; want Evicted: %s", name, p.Status.Reason, p.Status.Message, message)
	}
	s.event(name, "Evicted", message)
	return p
}

// pressed waits for a condition of the node.
func (s *standalone) pressed(kind v1.NodeConditionType, want v1.ConditionStatus) {
	s.t.Helper()
	testbed.Eventually(s.t, soon, fmt.Sprintf("the node has %s %s", kind, want), func() error {
		for _, c := range s.node().Status.Conditions {
			if c.Type == kind && c.Status != want {
				return fmt.Errorf("it is %s: %s", c.Status, c.Message)
			}
		}
		return nil
	})
}
