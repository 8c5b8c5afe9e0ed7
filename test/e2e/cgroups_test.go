package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const weighed = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: $busybox, command: [sleep, "3600"], resources: %s}]
`

func weighedPod(name, resources string) string { return pods(fmt.Sprintf(weighed, name, resources)) }

// TestStandaloneCgroups reads what the cgroups above and of pods hold, which follows the pods that are there.
func TestStandaloneCgroups(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Kubelet: map[string]any{
		"kubeReserved": map[string]any{"pid": "1000", "memory": "256Mi"}, "systemReserved": map[string]any{"pid": "500", "cpu": "100m"},
	}})
	holds := func(t *testing.T, controller, cgroup, file, want string) {
		t.Helper()
		path := filepath.Join("/sys/fs/cgroup", controller, s.env.CgroupRoot(), "kubepods", cgroup, file)
		testbed.Eventually(t, soon, path+" holds "+want, func() error {
			b, err := os.ReadFile(path)
			if got := strings.TrimSpace(string(b)); err != nil || got != want {
				return fmt.Errorf("it holds %q, %v", got, err)
			}
			return nil
		})
	}
	number := func(path string) int {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	s.WriteManifest("guaranteed.yaml", weighedPod("guaranteed", "{limits: {cpu: 500m, memory: 64Mi}}"))
	s.WriteManifest("small.yaml", weighedPod("small", "{requests: {cpu: 250m}, limits: {memory: 64Mi}}"))
	s.WriteManifest("large.yaml", weighedPod("large", "{requests: {cpu: 750m}}"))
	s.WriteManifest("besteffort.yaml", weighedPod("besteffort", "{}"))
	for _, name := range []string{"guaranteed", "small", "large", "besteffort"} {
		s.ready(name)
	}
	t.Run("all pods together leave what is reserved", func(t *testing.T) {
		holds(t, "pids", "", "pids.max", strconv.Itoa(min(number("/proc/sys/kernel/pid_max"), number("/proc/sys/kernel/threads-max"))-1500))
	})
	t.Run("burstable pods weigh what they request together", func(t *testing.T) {
		holds(t, "cpu", "burstable", "cpu.shares", "1024")
		holds(t, "cpu", "besteffort", "cpu.shares", "2")
	})
	t.Run("a container with a memory limit does not swap beyond it", func(t *testing.T) {
		for name, class := range map[string]string{"guaranteed": "", "small": "burstable"} {
			p := s.on(t).ready(name)
			id := strings.TrimPrefix(container(p, "c").ContainerID, "containerd://")
			holds(t, "memory", filepath.Join(class, "pod"+string(p.UID), id), "memory.memsw.limit_in_bytes", strconv.Itoa(64<<20))
		}
	})
	t.Run("the weight goes with its pod, and outlives the agent", func(t *testing.T) {
		s := s.on(t)
		s.gone("large.yaml", s.others("large")...)
		holds(t, "cpu", "burstable", "cpu.shares", "256")
		s.Kill()
		holds(t, "cpu", "burstable", "cpu.shares", "256")
		s.Start()
		s.ready("small")
		holds(t, "cpu", "burstable", "cpu.shares", "256")
		s.nodeEvent("NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
	})
}

// nodeEvent waits for an event of the node itself.
func (s *standalone) nodeEvent(reason, message string) {
	s.t.Helper()
	testbed.Eventually(s.t, soon, "event "+reason+" of the node", func() error {
		var list v1.EventList
		if err := s.local("/api/v1/events", &list); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == "Node" && e.Reason == reason && e.Message == message {
				return nil
			}
		}
		return fmt.Errorf("none of %d events is it", len(list.Items))
	})
}
