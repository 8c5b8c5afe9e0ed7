package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// Pods with sidecars that end in ways of their own. $out is a directory of the host.
const (
	// Each sidecar needs 5 s to obey SIGTERM; its hook notes that it lives when all of them were sent one.
	endlessHooks = `
metadata: {name: endless}
spec:
  terminationGracePeriodSeconds: 4
  restartPolicy: Never
  initContainers:%s
  containers:
  - name: main
    image: $busybox
    command: [sh, -c, "while ! test -e /out/up1 -a -e /out/up2 -a -e /out/up3; do sleep 0.1; done"]
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	endlessHook = `
  - name: side%[1]d
    image: $busybox
    command: [sh, -c, "trap 'touch /out/term%[1]d; sleep 5; exit 0' TERM; touch /out/up%[1]d; while :; do sleep 0.1; done"]
    restartPolicy: Always
    lifecycle: {preStop: {exec: {command: [sh, -c, "touch /out/hook%[1]d; while :; do test -e /out/term1 -a -e /out/term2 -a -e /out/term3 && touch /out/last%[1]d; sleep 0.1; done"]}}}
    volumeMounts: [{name: out, mountPath: /out}]`
	// Two of three sidecars obey within their last moment; what one hook uses up is no fault of theirs.
	oneEndless = `
metadata: {name: oneendless}
spec:
  terminationGracePeriodSeconds: 3
  restartPolicy: Never
  initContainers:
  - name: first
    image: $busybox
    command: [sh, -c, "trap 'sleep 1; exit 0' TERM; touch /out/upa; while :; do sleep 0.1; done"]
    restartPolicy: Always
    lifecycle: {preStop: {sleep: {seconds: 1}}}
    volumeMounts: [{name: out, mountPath: /out}]
  - name: endless
    image: $busybox
    command: [sh, -c, "trap 'sleep 20; exit 0' TERM; touch /out/upb; while :; do sleep 0.1; done"]
    restartPolicy: Always
    lifecycle: {preStop: {exec: {command: [sleep, "600"]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  - name: third
    image: $busybox
    command: [sh, -c, "trap 'sleep 1; exit 0' TERM; touch /out/upc; while :; do sleep 0.1; done"]
    restartPolicy: Always
    lifecycle: {preStop: {sleep: {seconds: 1}}}
    volumeMounts: [{name: out, mountPath: /out}]
  containers:
  - name: main
    image: $busybox
    command: [sh, -c, "while ! test -e /out/upa -a -e /out/upb -a -e /out/upc; do sleep 0.1; done"]
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	// The sidecar's liveness probe always fails; that of the main container does so once the sidecar was restarted.
	sickEnd = `
metadata: {name: sickend}
spec:
  terminationGracePeriodSeconds: 60
  restartPolicy: Never
  initContainers:
  - name: side
    image: $busybox
    command: [sh, -c, "trap 'exit 0' TERM; echo side >>/out/sickend; while :; do sleep 0.1; done"]
    restartPolicy: Always
    livenessProbe: {exec: {command: [sh, -c, "echo probe >>/out/sickend; exit 1"]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}
    volumeMounts: [{name: out, mountPath: /out}]
  containers:
  - name: main
    image: $busybox
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    livenessProbe: {exec: {command: [sh, -c, "test $(grep -c side /out/sickend) -lt 2"]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}
    lifecycle: {preStop: {exec: {command: [sh, -c, "sleep 5; echo hook >>/out/sickend; sleep 8; echo hooked >>/out/sickend"]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
)

// TestLifecycle_Sidecars ends pods with sidecars on a node whose longest CrashLoopBackOff is 2 s.
func TestLifecycle_Sidecars(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Kubelet: map[string]any{
		"crashLoopBackOff": map[string]any{"maxContainerRestartPeriod": "2s"},
	}})
	l := lives{s, filepath.Dir(s.env.Path("out", "x"))}
	sides := ""
	for i := range 3 {
		sides += fmt.Sprintf(endlessHook, i+1)
	}
	s.WriteManifest("pods.yaml", l.manifest(fmt.Sprintf(endlessHooks, sides), oneEndless, sickEnd))

	t.Run("sidecars whose hooks never end are killed together, and their hooks with them", func(t *testing.T) {
		s := s.on(t)
		p := s.phase("endless", v1.PodSucceeded)
		for i := range 3 {
			name := fmt.Sprint("side", i+1)
			if e := container(p, name).State.Terminated; e == nil || e.ExitCode != 137 || e.Reason != "Error" {
				t.Errorf("%s is %+v", name, container(p, name).State)
			}
			for _, file := range []string{"hook", "last"} {
				if _, err := os.Stat(filepath.Join(l.out, fmt.Sprint(file, i+1))); err != nil {
					t.Error(err)
				}
			}
		}
		s.event("endless", "FailedPreStopHook", "")
	})
	t.Run("a hook that never ends leaves the other sidecars a moment to obey", func(t *testing.T) {
		p := s.on(t).phase("oneendless", v1.PodSucceeded)
		for name, code := range map[string]int32{"first": 0, "endless": 137, "third": 0} {
			if e := container(p, name).State.Terminated; e == nil || e.ExitCode != code {
				t.Errorf("%s is %+v", name, container(p, name).State)
			}
		}
	})
	t.Run("a sidecar is not restarted while the last main container is stopped for good", func(t *testing.T) {
		s := s.on(t)
		p := s.phase("sickend", v1.PodSucceeded)
		if e := container(p, "side").State.Terminated; e == nil || container(p, "side").RestartCount == 0 {
			t.Errorf("the sidecar is %+v", container(p, "side"))
		}
		b, err := os.ReadFile(filepath.Join(l.out, "sickend"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(string(b))
		if i := slices.Index(lines, "hook"); i < 0 || !slices.Equal(lines[i:], []string{"hook", "hooked"}) {
			t.Errorf("it went on while the hook ran: %q", lines)
		}
	})
}
