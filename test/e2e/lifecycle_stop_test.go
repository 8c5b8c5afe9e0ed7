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

// Pods with hooks, and pods that end in their own ways. $out is a directory of the host, $obey a shell's loop that tells
// of SIGTERM in the file that the variable f names.
const (
	hooks = `
metadata: {name: hooks}
spec:
  terminationGracePeriodSeconds: 20
  initContainers:
  - name: web
    image: $web
    args: [-touch=/out/hooks-up]
    restartPolicy: Always
    startupProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 60}
    volumeMounts: [{name: out, mountPath: /out}]
  containers:
  - name: http
    image: $busybox
    command: [sh, -c, "f=hooks-http; $obey"]
    ports: [{name: web, containerPort: 8080}]
    lifecycle:
      postStart: {httpGet: {path: "/headers?postStart=1", port: web, httpHeaders: [{name: X-Hook, value: one}]}}
      preStop: {httpGet: {path: "/headers?preStop=1", port: 8080}}
    volumeMounts: [{name: out, mountPath: /out}]
  - name: tcp
    image: $busybox
    command: [sh, -c, "f=hooks-tcp; $obey"]
    lifecycle: {postStart: {tcpSocket: {port: 8080}}, preStop: {tcpSocket: {port: 8080}}}
    volumeMounts: [{name: out, mountPath: /out}]
  - name: sleep
    image: $busybox
    command: [sh, -c, "f=hooks-sleep; $obey"]
    lifecycle: {postStart: {sleep: {seconds: 0}}, preStop: {sleep: {seconds: 1}}}
    volumeMounts: [{name: out, mountPath: /out}]
  - name: exec
    image: $busybox
    command: [sh, -c, "f=hooks-exec; $obey"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo postStart >>/out/hooks-exec"]}}
      preStop: {exec: {command: [sh, -c, "sleep 1; echo preStop >>/out/hooks-exec"]}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	badStart = `
metadata: {name: badstart}
spec:
  restartPolicy: Never
  containers: [{name: c, image: $web, args: [-term-code=5], lifecycle: {postStart: {exec: {command: [/web, exit, "7"]}}}}]
`
	badStop = `
metadata: {name: badstop}
spec:
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "f=badstop; $obey"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo no; exit 9"]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	slowHook = `
metadata: {name: slowhook}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "f=slowhook; $obey"]
    lifecycle: {preStop: {exec: {command: [sleep, "600"]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	centuries = `
metadata: {name: centuries}
spec:
  terminationGracePeriodSeconds: 10000000000
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "f=centuries; $obey"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "sleep 1; echo preStop >>/out/centuries"]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	drained = `
metadata: {name: drain}
spec:
  terminationGracePeriodSeconds: 25
  initContainers:
  - name: proxy
    image: $busybox
    command: [sh, -c, "f=drain; $obey"]
    restartPolicy: Always
    lifecycle: {preStop: {exec: {command: [touch, /out/draining]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  containers:
  - name: main
    image: $busybox
    command: [sh, -c, "trap 'while ! test -e /out/draining; do sleep 0.1; done; echo main >>/out/drain; exit 0' TERM; touch /out/drain; while :; do sleep 0.1; done"]
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	lateCar = `
metadata: {name: latecar}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: side, image: $busybox, command: [sh, -c, "f=latecar; $obey"], restartPolicy: Always, volumeMounts: [{name: out, mountPath: /out}]}
  containers: [{name: main, image: $web, args: [-ignore-term]}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	probeGrace = `
metadata: {name: probegrace}
spec:
  terminationGracePeriodSeconds: 600
  restartPolicy: Never
  containers:
  - name: c
    image: $web
    args: [-ignore-term]
    livenessProbe: {exec: {command: [/web, exit, "1"]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1, terminationGracePeriodSeconds: 1}
`
	startupFails = `
metadata: {name: startupfails}
spec:
  terminationGracePeriodSeconds: 600
  restartPolicy: OnFailure
  containers:
  - name: c
    image: $web
    args: [-term-code=3]
    startupProbe: {tcpSocket: {port: 9}, periodSeconds: 1, failureThreshold: 2, terminationGracePeriodSeconds: 5}
    livenessProbe: {exec: {command: [/web, exit, "1"]}, periodSeconds: 1, failureThreshold: 1}
`
	signaled = `
metadata: {name: signaled}
spec:
  os: {name: linux}
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "trap 'echo usr1 >>/out/signaled; exit 0' USR1; touch /out/signaled; while :; do sleep 0.1; done"]
    lifecycle: {stopSignal: SIGUSR1}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: $out}}]
`
	leaving = `
metadata: {name: leaving}
spec:
  terminationGracePeriodSeconds: 60
  containers:
  - name: web
    image: $web
    lifecycle: {preStop: {httpGet: {path: "/wait?for=60s", port: 8080}}}
    readinessProbe: {httpGet: {path: "/redirect?to=/readyz", port: 8080}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
    startupProbe: {httpGet: {path: "/redirect?to=http://192.0.2.1/", port: 8080}, periodSeconds: 1, failureThreshold: 60}
`
	obey = `trap 'echo term >>/out/$f; exit 0' TERM; touch /out/$f-up; while :; do sleep 0.1; done`
)

// TestLifecycle_Stop runs hooks of every kind and stops pods in every way, side by side on one node.
func TestLifecycle_Stop(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	l := lives{s, filepath.Dir(s.env.Path("out", "x"))}
	all := []string{hooks, badStop, slowHook, centuries, drained, lateCar, signaled}
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], "$obey", obey)
	}
	s.WriteManifest("pods.yaml", l.manifest(all...))
	s.WriteManifest("leaving.yaml", l.manifest(leaving))
	s.WriteManifest("ended.yaml", l.manifest(badStart, probeGrace, startupFails))

	t.Run("a postStart hook that fails ends its container", func(t *testing.T) {
		s := s.on(t)
		p := s.phase("badstart", v1.PodFailed)
		if e := container(p, "c").State.Terminated; e == nil || e.ExitCode == 0 { // 5, or 2 when SIGTERM came before it was awaited
			t.Errorf("the container is %+v", container(p, "c"))
		}
		s.event("badstart", "FailedPostStartHook", `command "/web exit 7" exited with 7`)
		s.event("badstart", "Killing", "FailedPostStartHook")
	})
	t.Run("a liveness probe has a grace period of its own", func(t *testing.T) {
		s := s.on(t)
		p := s.phase("probegrace", v1.PodFailed)
		if e := container(p, "c").State.Terminated; e == nil || e.ExitCode != 137 || container(p, "c").RestartCount != 0 {
			t.Errorf("the container is %+v", container(p, "c"))
		}
		s.event("probegrace", "Killing", "Container c failed liveness probe")
	})
	t.Run("a startup probe that fails restarts its container and holds back liveness", func(t *testing.T) {
		s := s.on(t)
		p := s.until("startupfails", "was restarted", restarted("c", 1))
		if last := container(p, "c").LastTerminationState.Terminated; last == nil || last.ExitCode == 0 {
			t.Errorf("it ended as %+v", last)
		}
		s.event("startupfails", "Killing", "Container c failed startup probe, will be restarted")
		for _, e := range s.events("startupfails") {
			if strings.HasPrefix(e.Message, "Liveness") {
				t.Errorf("the liveness probe ran: %s", e.Message)
			}
		}
	})
	t.Run("nothing flips when the agent is killed and comes back", func(t *testing.T) { comesBack(t, l) })
	t.Run("readiness is still probed while a pod ends, liveness is not", func(t *testing.T) { leaves(s.on(t)) })
	t.Run("hooks run, and then SIGTERM or the pod's own signal comes", func(t *testing.T) { stopsAll(t, l) })
}

// comesBack kills the agent and follows a pod with probes of all kinds until each was asked again.
func comesBack(t *testing.T, l lives) {
	s := l.on(t)
	before := s.ready("leaving")
	s.event("leaving", "ProbeWarning", "Startup probe warning: Probe terminated redirects")
	s.ready("hooks")
	seen := len(s.logs("leaving", "web"))
	s.Restart()
	updates := s.watch("/api/v1/namespaces/default/pods")
	testbed.Eventually(t, soon, "the probes run again", func() error {
		log := s.logs("leaving", "web")
		for _, ask := range []string{"GET /readyz", "GET /healthz"} {
			if log := log[min(seen, len(log)):]; !strings.Contains(log, ask) || !strings.Contains(log, "(kube-probe/1.36)") {
				return fmt.Errorf("no %s in %q", ask, log)
			}
		}
		if strings.Contains(log[seen:], "192.0.2.1") {
			t.Error("the startup probe ran again")
		}
		return nil
	})
	for len(updates) > 0 {
		if e := <-updates; e.Object.UID == before.UID {
			if err := isReady(&e.Object); err != nil {
				t.Error(err)
			}
		}
	}
	after := s.ready("leaving")
	for i, c := range before.Status.Conditions {
		if a := after.Status.Conditions[i]; a.Type != c.Type || a.Status != c.Status || !a.LastTransitionTime.Equal(&c.LastTransitionTime) {
			t.Errorf("condition %+v became %+v", c, a)
		}
	}
	if a, b := container(before, "web"), container(after, "web"); a.ContainerID != b.ContainerID || b.RestartCount != 0 {
		t.Errorf("container %+v became %+v", a, b)
	}
}

func leaves(s *standalone) {
	p := s.ready("leaving")
	s.RemoveManifest("leaving.yaml")
	s.event("leaving", "Killing", "Stopping container web")
	web := "http://" + p.Status.PodIP + ":8080"
	for _, path := range []string{"healthz", "readyz"} {
		if err := post(web + "/set/" + path + "?ok=false"); err != nil {
			s.t.Fatal(err)
		}
	}
	s.until("leaving", "is no longer Ready", func(p *v1.Pod) error { return isCondition(p, v1.PodReady, v1.ConditionFalse) })
	s.event("leaving", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
	for _, e := range s.events("leaving") {
		if strings.HasPrefix(e.Message, "Liveness") {
			s.t.Errorf("its liveness was probed: %s", e.Message)
		}
	}
	if err := post(web + "/exit?code=0"); err != nil {
		s.t.Log("the answer was cut off:", err)
	}
}

func stopsAll(t *testing.T, l lives) {
	s := l.on(t)
	for _, name := range []string{"hooks", "badstop", "slowhook", "centuries", "drain", "latecar", "signaled"} {
		s.ready(name)
	}
	if sig := container(s.ready("signaled"), "c").StopSignal; sig == nil || *sig != v1.SIGUSR1 {
		t.Errorf("the stop signal in the status is %v", sig)
	}
	for _, name := range []string{"hooks-http-up", "hooks-tcp-up", "hooks-sleep-up", "hooks-exec-up", "badstop-up", "slowhook-up", "centuries-up", "drain", "latecar-up", "signaled"} {
		testbed.Eventually(t, soon, name+" is there", func() error { _, err := os.Stat(filepath.Join(l.out, name)); return err })
	}
	p := s.ready("hooks")
	log, err := os.Open(filepath.Join(s.PodLogs, "default_"+p.Name+"_"+string(p.UID), "web", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // it can be read when the pod's directory is gone
	s.RemoveManifest("ended.yaml")
	s.gone("pods.yaml")
	for name, want := range map[string]string{
		"hooks-http": "term\n", "hooks-tcp": "term\n", "hooks-sleep": "term\n", "hooks-exec": "postStart\npreStop\nterm\n",
		"badstop": "term\n", "slowhook": "term\n", "centuries": "preStop\nterm\n", "drain": "main\nterm\n", "latecar": "term\n", "signaled": "usr1\n",
	} {
		l.wrote(t, name, want)
	}
	b := make([]byte, 1<<20)
	n, err := log.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, hook := range []string{"GET /headers?postStart=1", "GET /headers?preStop=1"} {
		if i := strings.Index(string(b[:n]), hook); i < 0 || !strings.Contains(string(b[i:n]), "(kube-lifecycle/1.36)") {
			t.Errorf("no %s in\n%s", hook, b[:n])
		}
	}
	s.event("badstop", "FailedPreStopHook", `exited with 9: no`)
	s.event("slowhook", "FailedPreStopHook", "")
}
