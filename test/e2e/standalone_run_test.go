package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const runs = `
metadata: {name: ordered}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  initContainers:
  - {name: one, image: $busybox, command: [sh, -c, "sleep 0.3; echo one >>/work/order"], volumeMounts: [{name: work, mountPath: /work}]}
  - {name: two, image: $busybox, command: [sh, -c, "echo two >>/work/order"], volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - {name: main, image: $busybox, command: [sh, -c, "cat /work/order; echo main"], volumeMounts: [{name: work, mountPath: /work}]}
  volumes: [{name: work, emptyDir: {}}]
`

const failingInit = `
metadata: {name: noinit}
spec:
  restartPolicy: Never
  initContainers: [{name: bad, image: $busybox, command: [sh, -c, "exit 4"]}]
  containers: [{name: main, image: $busybox, command: [sh, -c, "echo never"]}]
`

const onFailure = `
metadata: {name: onfailure}
spec:
  restartPolicy: OnFailure
  containers:
  - {name: once, image: $busybox, command: ["true"]}
  - name: retried
    image: $busybox
    command: [sh, -c, "test -e /work/tried && exit 0; touch /work/tried; exit 7"]
    volumeMounts: [{name: work, mountPath: /work}]
  volumes: [{name: work, emptyDir: {}}]
`

const crashing = `
metadata: {name: crashing}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: $busybox, command: [sh, -c, "echo run; echo last words >/dev/termination-log; exit 3"]}]
`

const logMessage = `
metadata: {name: logmessage}
spec:
  restartPolicy: Never
  containers: [{name: c, image: $busybox, command: [sh, -c, "echo it broke; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}]
`

const nostart = `
metadata: {name: nostart}
spec:
  restartPolicy: Never
  containers: [{name: c, image: $busybox, command: [/no/such/program]}]
`

// TestStandaloneRun runs pods that end in all the ways that pods end.
func TestStandaloneRun(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	s.WriteManifest("pods.yaml", pods(runs, failingInit, onFailure, crashing, logMessage, nostart))

	t.Run("init containers run in order and before the others", func(t *testing.T) {
		s := s.on(t)
		p := s.phase("ordered", v1.PodSucceeded)
		if got, want := s.logs("ordered", "main"), "one\ntwo\nmain\n"; got != want {
			t.Errorf("the log is %q, want %q", got, want)
		}
		for _, name := range []string{"one", "two", "main"} {
			c := container(p, name)
			if e := c.State.Terminated; e == nil || e.Reason != "Completed" || e.ExitCode != 0 || e.StartedAt.IsZero() || e.FinishedAt.IsZero() || c.RestartCount != 0 {
				t.Errorf("container %s is %+v", name, c)
			}
		}
	})
	t.Run("a failing init container fails a pod that must not restart", func(t *testing.T) {
		p := s.on(t).phase("noinit", v1.PodFailed)
		if e := container(p, "bad").State.Terminated; e == nil || e.ExitCode != 4 || e.Reason != "Error" {
			t.Errorf("the init container is %+v", container(p, "bad").State)
		}
		if id := container(p, "main").ContainerID; id != "" {
			t.Errorf("the main container was made: %s", id)
		}
	})
	t.Run("OnFailure restarts what failed and leaves what succeeded", func(t *testing.T) {
		p := s.on(t).phase("onfailure", v1.PodSucceeded)
		if a, b := container(p, "once").RestartCount, container(p, "retried").RestartCount; a != 0 || b != 1 {
			t.Errorf("restarts %d and %d, want 0 and 1", a, b)
		}
		if last := container(p, "retried").LastTerminationState.Terminated; last == nil || last.ExitCode != 7 {
			t.Errorf("the last state of the retried container is %+v", last)
		}
	})
	t.Run("a crash loop backs off and counts", func(t *testing.T) { crashLoops(s.on(t)) })
	t.Run("the end of the log is the message when the container wrote none", func(t *testing.T) {
		p := s.on(t).phase("logmessage", v1.PodFailed)
		if e := container(p, "c").State.Terminated; e == nil || e.Message != "it broke\n" || e.Reason != "Error" {
			t.Errorf("the container is %+v", container(p, "c").State)
		}
	})
	t.Run("a program that is missing is told", func(t *testing.T) {
		p := s.on(t).phase("nostart", v1.PodFailed)
		if e := container(p, "c").State.Terminated; e == nil || e.Reason != "StartError" || e.ExitCode != 128 || !strings.Contains(e.Message, "/no/such/program") {
			t.Errorf("the container is %+v", container(p, "c").State)
		}
	})
	t.Run("the node is ready", func(t *testing.T) { s.on(t).nodeReady() })
	t.Run("nothing stays", func(t *testing.T) { s.on(t).gone("pods.yaml") })
}

func crashLoops(s *standalone) {
	p := s.until("crashing", "backs off", waits("c", "CrashLoopBackOff", "back-off 10s restarting failed container=c pod=crashing-"+s.NodeName+"_default"))
	c := container(p, "c")
	if c.RestartCount != 1 || c.Ready || p.Status.Phase != v1.PodRunning {
		s.t.Errorf("phase %s, %+v", p.Status.Phase, c)
	}
	last := c.LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.Reason != "Error" || last.Message != "last words\n" {
		s.t.Fatalf("the last run ended as %+v", last)
	}
	s.event("crashing", "BackOff", "Back-off restarting failed container c in pod crashing-"+s.NodeName+"_default("+string(p.UID)+")")
	dir := filepath.Join(s.PodLogs, "default_"+p.Name+"_"+string(p.UID), "c")
	if b, err := os.ReadFile(filepath.Join(dir, "1.log")); err != nil || !strings.HasSuffix(string(b), " stdout F run\n") {
		s.t.Errorf("the log of the last run is %q, %v", b, err)
	}
	id := strings.TrimPrefix(last.ContainerID, "containerd://")
	link := "/var/log/containers/" + p.Name + "_default_c-" + id + ".log"
	if to, err := os.Readlink(link); err != nil || to != filepath.Join(dir, "1.log") {
		s.t.Errorf("%s leads to %q, %v", link, to, err)
	}
	if out := s.logs("crashing", "c", "--previous"); out != "run\n" {
		s.t.Errorf("the previous log is %q", out)
	}
}

// nodeReady waits until the node says that it is, with the words that Kubernetes uses.
func (s *standalone) nodeReady() {
	s.t.Helper()
	testbed.Eventually(s.t, soon, "the node is ready", func() error {
		for _, c := range s.node().Status.Conditions {
			if c.Type == v1.NodeReady {
				if c.Status == v1.ConditionTrue && c.Reason == "KubeletReady" {
					return nil
				}
				return fmt.Errorf("%s: %s %s", c.Status, c.Reason, c.Message)
			}
		}
		return fmt.Errorf("it has no condition Ready")
	})
}

// node is the Node of the local API.
func (s *standalone) node() v1.Node {
	s.t.Helper()
	var list v1.NodeList
	if err := s.local("/api/v1/nodes", &list); err != nil || len(list.Items) != 1 {
		s.t.Fatalf("the nodes are %v, %v", list.Items, err)
	}
	return list.Items[0]
}
