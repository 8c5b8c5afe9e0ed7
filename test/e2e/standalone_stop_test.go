package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// Pods that write what happens to them to a directory of the host.
const (
	obedient = `
metadata: {name: obedient}
spec:
  terminationGracePeriodSeconds: 30
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "trap 'echo term >>/out/obedient; exit 0' TERM; touch /out/ready; while :; do sleep 0.05; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo prestop >>/out/obedient"]}}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: "%s"}}]
`
	stubborn = `
metadata: {name: stubborn}
spec:
  terminationGracePeriodSeconds: 2
  containers: [{name: c, image: $web, args: [-ignore-term]}]
`
	hooked = `
metadata: {name: hooked}
spec:
  terminationGracePeriodSeconds: 30
  containers:
  - name: c
    image: $web
    args: [-touch=/out/hooked]
    lifecycle:
      preStop: {httpGet: {path: "/file?path=/out/hooked", port: 8080}}
      postStart: {exec: {command: [/web, echo, started]}}
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: "%s"}}]
`
	late = `
metadata: {name: late}
spec:
  terminationGracePeriodSeconds: 30
  activeDeadlineSeconds: 6
  containers: [{name: c, image: $web}]
`
)

// TestStandaloneStop takes pods away that obey, that do not, and that have something to do first.
func TestStandaloneStop(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	out := filepath.Dir(s.env.Path("out", "x"))
	s.WriteManifest("obedient.yaml", pods(fmt.Sprintf(obedient, out)))
	s.WriteManifest("stubborn.yaml", pods(stubborn))
	s.WriteManifest("hooked.yaml", pods(fmt.Sprintf(hooked, out)))
	s.WriteManifest("late.yaml", pods(late))

	t.Run("preStop runs first, then SIGTERM ends the container", func(t *testing.T) {
		s := s.on(t)
		s.ready("obedient")
		testbed.Eventually(t, soon, "the container has set its trap", func() error { _, err := os.Stat(out + "/ready"); return err })
		keep := []string{string(s.ready("stubborn").UID), string(s.ready("hooked").UID)}
		if p, err := s.pod("late"); err == nil {
			keep = append(keep, string(p.UID))
		}
		began := time.Now()
		s.gone("obedient.yaml", keep...)
		if b, err := os.ReadFile(out + "/obedient"); err != nil || string(b) != "prestop\nterm\n" {
			t.Errorf("what happened is %q, %v", b, err)
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("it took %s: the grace period was waited out", d)
		}
		s.event("obedient", "Killing", "Stopping container c")
	})
	t.Run("a deadline of its own fails a pod", func(t *testing.T) {
		p := s.on(t).phase("late", v1.PodFailed)
		if p.Status.Reason != "DeadlineExceeded" || p.Status.PodIP == "" {
			t.Errorf("status %s, address %q", p.Status.Reason, p.Status.PodIP)
		}
	})
	t.Run("SIGKILL ends what ignores SIGTERM when its grace period is over", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("stubborn")
		ended := s.watchEnd(p)
		s.RemoveManifest("stubborn.yaml")
		last := <-ended
		if e := container(&last, "c").State.Terminated; e == nil || e.ExitCode != 137 || e.FinishedAt.Sub(e.StartedAt.Time) < 2*time.Second || last.Status.Phase != v1.PodFailed {
			t.Errorf("at last the pod was %s and its container %+v", last.Status.Phase, container(&last, "c").State)
		}
	})
	t.Run("a preStop request reaches the container", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("hooked")
		path := filepath.Join(s.PodLogs, "default_"+p.Name+"_"+string(p.UID), "c", "0.log")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() // it can be read when the pod's directory is gone
		for _, file := range []string{"late.yaml", "hooked.yaml"} {
			s.RemoveManifest(file)
		}
		testbed.Eventually(t, soon, "nothing is left", s.NothingLeft)
		b := make([]byte, 1<<16)
		n, _ := f.Read(b)
		log := string(b[:n])
		hook, term := strings.Index(log, "GET /file?path=/out/hooked"), strings.Index(log, "received terminated")
		if hook < 0 || term < hook {
			t.Errorf("the container saw:\n%s", log)
		}
	})
}

// watchEnd follows a pod through the local API and gives its last value.
func (s *standalone) watchEnd(p *v1.Pod) <-chan v1.Pod {
	s.t.Helper()
	events := s.watch("/api/v1/namespaces/default/pods")
	last := make(chan v1.Pod, 1)
	go func() {
		for e := range events {
			if e.Object.UID == p.UID && e.Type == "DELETED" {
				last <- e.Object
				return
			}
		}
		last <- v1.Pod{}
	}()
	return last
}
