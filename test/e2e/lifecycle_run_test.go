package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// Pods that run, end and run again in the ways that a specification can ask for. $out is a directory of the host.
const (
	restartAll = `
metadata: {name: all}
spec:
  terminationGracePeriodSeconds: 5
  restartPolicy: Never
  initContainers:
  - {name: init, image: $busybox, command: [sh, -c, "echo init >>/out/all"], volumeMounts: [{name: out, mountPath: /out}]}
  - {name: side, image: $web, args: [-ignore-term], restartPolicy: Always}
  containers:
  - name: worker
    image: $busybox
    command: [sh, -c, "trap 'exit 0' TERM; echo worker >>/out/all; echo run; while :; do test -e /out/again || test ! -e /out/fail || { touch /out/again; exit 3; }; sleep 0.1; done"]
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [3]}}]
    volumeMounts: [{name: out, mountPath: /out}]
  - {name: other, image: $web, args: ["-addr=:8081"], lifecycle: {preStop: {exec: {command: [/web, exit, "1"]}}}}
  volumes: [{name: out, hostPath: {path: $out}}]
`
	ruled = `
metadata: {name: ruled}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "test -e /work/tried && exit 0; touch /work/tried; exit 42"]
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
    volumeMounts: [{name: work, mountPath: /work}]
  - {name: own, image: $busybox, command: [sh, -c, "test -e /work/own && exit 0; touch /work/own; exit 1"], restartPolicy: OnFailure, volumeMounts: [{name: work, mountPath: /work}]}
  volumes: [{name: work, emptyDir: {}}]
`
	always = `
metadata: {name: always}
spec:
  containers: [{name: c, image: $busybox, command: ["true"]}]
`
	sidecars = `
metadata: {name: cars}
spec:
  terminationGracePeriodSeconds: 20
  restartPolicy: Never
  initContainers:
  - name: one
    image: $busybox
    command: [sh, -c, "trap 'echo one down >>/out/cars; exit 0' TERM; echo one up >>/out/cars; sleep 1; echo one started >>/out/cars; touch /tmp/started; while :; do sleep 0.1; done"]
    restartPolicy: Always
    startupProbe: {exec: {command: [test, -e, /tmp/started]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 60}
    volumeMounts: [{name: out, mountPath: /out}]
  - {name: init, image: $busybox, command: [sh, -c, "echo init >>/out/cars"], volumeMounts: [{name: out, mountPath: /out}]}
  - name: two
    image: $busybox
    command: [sh, -c, "test -e /work/x || { touch /work/x; exit 1; }; trap 'echo two down >>/out/cars; exit 0' TERM; touch /work/up; while :; do sleep 0.1; done"]
    restartPolicy: Always
    volumeMounts: [{name: out, mountPath: /out}, {name: work, mountPath: /work}]
  containers:
  - name: main
    image: $busybox
    command: [sh, -c, "echo main >>/out/cars; while ! test -e /work/up; do sleep 0.1; done"]
    volumeMounts: [{name: out, mountPath: /out}, {name: work, mountPath: /work}]
  volumes: [{name: out, hostPath: {path: $out}}, {name: work, emptyDir: {}}]
`
	lostBox = `
metadata: {name: lost}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: init, image: $busybox, command: [sh, -c, "echo init >>/out/lost"], volumeMounts: [{name: out, mountPath: /out}]}]
  containers: [{name: web, image: $web, readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	lastWords = `
metadata: {name: words}
spec:
  restartPolicy: Never
  containers:
  - {name: long, image: $busybox, command: [sh, -c, "head -c 5000 /dev/zero | tr '\\0' x >/end; exit 1"], terminationMessagePath: /end}
  - {name: log, image: $busybox, command: [sh, -c, "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); done; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: file, image: $busybox, command: [sh, -c, "echo log; echo file >/dev/termination-log; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: fine, image: $busybox, command: [sh, -c, "echo log"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: wide, image: $busybox, command: [sh, -c, "head -c 4000 /dev/zero | tr '\\0' y; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
`
	lastReason = `
metadata: {name: reason}
spec:
  restartPolicy: Never
  containers: [{name: c, image: $busybox, command: [sh, -c, "head -c 5000 /dev/zero | tr '\\0' x >/end; echo -n 'out of ideas' >>/end; exit 1"], terminationMessagePath: /end}]
`
	noSandbox = `
metadata: {name: nobox}
spec:
  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: none}]}
  containers: [{name: c, image: $web}]
`
	swapped = `
metadata: {name: swap}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "trap 'sleep 1; echo %[1]s down >>/out/swap; exit 0' TERM; echo %[1]s up >>/out/swap; while :; do sleep 0.1; done"]
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
)

// lives is a standalone node with a directory of the host that pods write to.
type lives struct {
	*standalone
	out string
}

func (l lives) manifest(bodies ...string) string {
	return strings.ReplaceAll(pods(bodies...), "$out", l.out)
}

// wrote waits until pods have written this to a file in the common directory.
func (l lives) wrote(t *testing.T, name, want string) {
	t.Helper()
	testbed.Eventually(t, soon, "what "+name+" tells", func() error {
		b, err := os.ReadFile(filepath.Join(l.out, name))
		if got := string(b); err != nil || got != want {
			return fmt.Errorf("it is %q, %v; want %q", got, err, want)
		}
		return nil
	})
}

// TestLifecycle_Run lets many pods live side by side on one node whose longest CrashLoopBackOff is 2 s.
func TestLifecycle_Run(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2.4", "1.6"} {
		t.Run("containerd "+version, func(t *testing.T) { runLives(t, version) })
	}
}

func runLives(t *testing.T, version string) {
	s := newStandalone(t, testbed.ContainerdConfig{Version: version}, testbed.AgentConfig{Kubelet: map[string]any{
		"crashLoopBackOff": map[string]any{"maxContainerRestartPeriod": "2s"},
	}})
	l := lives{s, filepath.Dir(s.env.Path("out", "x"))}
	s.WriteManifest("swap.yaml", l.manifest(fmt.Sprintf(swapped, "old")))
	s.WriteManifest("pods.yaml", l.manifest(restartAll, ruled, always, sidecars, lostBox, lastWords, lastReason, noSandbox))

	t.Run("one exit code restarts all containers", func(t *testing.T) { restartsAll(t, l) })
	t.Run("rules of a container come before restart policies", func(t *testing.T) {
		p := s.on(t).phase("ruled", v1.PodSucceeded)
		for name, code := range map[string]int32{"c": 42, "own": 1} {
			if c := container(p, name); c.RestartCount != 1 || c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != code {
				t.Errorf("container %s is %+v", name, c)
			}
		}
	})
	t.Run("Always restarts also what succeeds, after the node's longest wait", func(t *testing.T) {
		s := s.on(t)
		s.until("always", "waits 2 s", waits("c", "CrashLoopBackOff", "back-off 2s restarting failed container=c"))
		s.until("always", "was restarted twice", restarted("c", 2))
	})
	t.Run("sidecars start in order, hold back what follows, restart, and stop last", func(t *testing.T) {
		p := s.on(t).phase("cars", v1.PodSucceeded)
		l.wrote(t, "cars", "one up\none started\ninit\nmain\ntwo down\none down\n")
		if two := container(p, "two"); two.RestartCount != 1 {
			t.Errorf("the sidecar that failed once is %+v", two)
		}
	})
	t.Run("a lost sandbox is made anew, and init containers run again", func(t *testing.T) { losesSandbox(t, l) })
	t.Run("last words are cut where Kubernetes cuts them", func(t *testing.T) { hearsLastWords(s.on(t)) })
	t.Run("a pod that gets no sandbox says why", func(t *testing.T) {
		s := s.on(t)
		s.event("nobox", "FailedCreatePodSandBox", "ip_unprivileged_port_start")
		s.until("nobox", "says why", waits("c", "ContainerCreating", "ip_unprivileged_port_start"))
	})
	t.Run("a pod of the same name waits for the old one to be gone", func(t *testing.T) {
		s := s.on(t)
		s.ready("swap")
		l.wrote(t, "swap", "old up\n")
		s.WriteManifest("swap.yaml", l.manifest(fmt.Sprintf(swapped, "new")))
		l.wrote(t, "swap", "old up\nold down\nnew up\n")
	})
	t.Run("nothing stays", func(t *testing.T) {
		s := s.on(t)
		s.RemoveManifest("swap.yaml")
		s.gone("pods.yaml")
	})
}

func restarted(name string, times int32) func(*v1.Pod) error {
	return func(p *v1.Pod) error {
		if n := container(p, name).RestartCount; n < times {
			return fmt.Errorf("container %s was restarted %d times", name, n)
		}
		return nil
	}
}

func restartsAll(t *testing.T, l lives) {
	s := l.on(t)
	before := s.ready("all")
	if err := os.WriteFile(filepath.Join(l.out, "fail"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.event("all", "Killing", "Stopping container side, will be restarted with all others")
	s.until("all", "was restarted", restarted("worker", 1))
	p := s.ready("all")
	l.wrote(t, "all", "init\nworker\ninit\nworker\n")
	if diff := cmp.Diff(before.Status.PodIPs, p.Status.PodIPs); diff != "" {
		t.Errorf("its addresses changed: %s", diff)
	}
	for name, want := range map[string]v1.ContainerStateTerminated{
		"init": {Reason: "Completed"}, "worker": {ExitCode: 3, Reason: "Error"},
		"side": {ExitCode: 137, Reason: "RestartingAllContainers"}, "other": {ExitCode: 137, Reason: "RestartingAllContainers"},
	} {
		c := container(p, name)
		last := c.LastTerminationState.Terminated
		if c.RestartCount != 1 || last == nil || last.ExitCode != want.ExitCode || last.Reason != want.Reason {
			t.Errorf("container %s is %+v, last %+v", name, c, last)
		}
	}
	if err := isCondition(p, v1.AllContainersRestarting, v1.ConditionFalse); err != nil {
		t.Error(err)
	}
	if out := s.logs("all", "worker", "--previous"); out != "run\n" {
		t.Errorf("the log of the run before is %q", out)
	}
	if out := s.logs("all", "side", "--previous"); out == "" || strings.Contains(out, "received terminated") {
		t.Errorf("the sidecar was not just killed: %q", out)
	}
	for _, e := range s.events("all") {
		if e.Reason == "SandboxChanged" || e.Reason == "FailedPreStopHook" {
			t.Errorf("event %s: %s", e.Reason, e.Message)
		}
	}
}

func losesSandbox(t *testing.T, l lives) {
	s := l.on(t)
	before := s.ready("lost")
	if err := syscall.Kill(pauseOf(t, before), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.event("lost", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	s.until("lost", "runs again", restarted("web", 1))
	p := s.ready("lost")
	l.wrote(t, "lost", "init\ninit\n")
	for _, name := range []string{"init", "web"} {
		if c := container(p, name); c.RestartCount != 1 || c.LastTerminationState.Terminated == nil || c.ContainerID == container(before, name).ContainerID {
			t.Errorf("container %s is %+v", name, c)
		}
	}
}

// pauseOf finds the process that holds a pod's sandbox.
func pauseOf(t *testing.T, p *v1.Pod) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dirs {
		groups, err1 := os.ReadFile(file)
		name, err2 := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		if err1 == nil && err2 == nil && bytes.Contains(groups, []byte("pod"+string(p.UID))) && string(name) == "pause\n" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("the pod's sandbox has no process")
	return 0
}

func hearsLastWords(s *standalone) {
	p := s.phase("words", v1.PodFailed)
	var lines strings.Builder
	for i := 20; i < 100; i++ {
		fmt.Fprintln(&lines, i)
	}
	for name, want := range map[string]string{
		"long": strings.Repeat("x", 12<<10/5), // its share of the 12 KiB that a pod's messages may have
		"log":  lines.String(), "file": "file\n", "fine": "", "wide": strings.Repeat("y", 2048),
	} {
		if e := container(p, name).State.Terminated; e == nil || e.Message != want {
			s.t.Errorf("container %s ended as %+v, want the message %q", name, e, want)
		}
	}
	why := "out of ideas"
	want := strings.Repeat("x", 4096-len(why)) + why
	if e := container(s.phase("reason", v1.PodFailed), "c").State.Terminated; e == nil || e.Message != want {
		s.t.Errorf("a long file gives %+v, want its last 4096 bytes", e)
	}
}

// events are those of a pod so far, given by the name in its file.
func (s *standalone) events(name string) (found []v1.Event) {
	s.t.Helper()
	var list v1.EventList
	if err := s.local("/api/v1/events", &list); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.InvolvedObject.Name == name+"-"+s.NodeName {
			found = append(found, e)
		}
	}
	return found
}
