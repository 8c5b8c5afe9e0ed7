package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// A pod for each kind of probe. Its switch is POST /set/<path> on port 8080, or the server itself.
const (
	probed = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: $web
    args: [%s]
    %s
`
	readyHTTP = `readinessProbe: {httpGet: {path: /readyz, port: 8080, httpHeaders: [{name: X-Probe, value: "1"}]}, periodSeconds: 1, failureThreshold: 1}`
	readyExec = `readinessProbe: {exec: {command: [/web, get, "http://127.0.0.1:8080/readyz"]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}`
	readyGRPC = `readinessProbe: {grpc: {port: 9090, service: readyz}, periodSeconds: 1, failureThreshold: 1}`
	liveHTTP  = `livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 2}`
	liveTCP   = `livenessProbe: {tcpSocket: {port: 8081}, periodSeconds: 1, failureThreshold: 2}`
	allGRPC   = `startupProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}
    livenessProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 1}`
	allHTTPS = `startupProbe: {httpGet: {scheme: HTTPS, path: /startupz, port: tls}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {scheme: HTTPS, path: /readyz, port: tls}, periodSeconds: 1}
    livenessProbe: {httpGet: {scheme: HTTPS, path: /healthz, port: 8443}, periodSeconds: 1, failureThreshold: 1}
    ports: [{name: tls, containerPort: 8443}]
    lifecycle: {preStop: {httpGet: {scheme: HTTPS, path: /bye, port: tls}}}`
	http2 = `startupProbe: {httpGet: {scheme: HTTPS, path: /startupz, port: 8443}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {scheme: HTTPS, path: readyz, port: 8443}, periodSeconds: 1}
    livenessProbe: {httpGet: {scheme: HTTPS, path: /healthz, port: 8443}, periodSeconds: 1, failureThreshold: 1}`
	slowExec = `livenessProbe: {exec: {command: [/web, get, "http://127.0.0.1:8080/wait?for=600s"]}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1}`
	startup  = `startupProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1, failureThreshold: 1}`
)

// unslashed asks without leading slashes, and its hooks are answered 404. A sidecar answers: it serves before the container
// starts, which is asked at once, and after its end.
const unslashed = `
metadata: {name: unslashed}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: web
    image: $web
    restartPolicy: Always
    startupProbe: {httpGet: {path: healthz, port: 8080}, periodSeconds: 1, failureThreshold: 60}
  containers:
  - name: c
    image: $busybox
    command: [sleep, "1000"]
    readinessProbe: {httpGet: {path: readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: "healthz?a=%20#b", port: 8080}, periodSeconds: 1}
    lifecycle:
      postStart: {httpGet: {path: "nowhere?postStart", port: 8080, httpHeaders: [{name: User-Agent, value: mine}]}}
      preStop: {httpGet: {path: "nowhere?preStop", port: 8080}}
`

func probing(name, args, probes string) string { return pods(fmt.Sprintf(probed, name, args, probes)) }

// TestStandaloneProbes switches the health of containers on and off.
func TestStandaloneProbes(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	s.WriteManifest("pods.yaml", probing("rhttp", "-unready", readyHTTP)+probing("rexec", "-unready", readyExec)+
		probing("rgrpc", `"-grpc-addr=:9090"`, readyGRPC)+probing("lhttp", "", liveHTTP)+probing("ltcp", "", liveTCP)+
		probing("startup", "-startup-after=4s", startup)+probing("grpc", `"-grpc-addr=:9090"`, allGRPC)+
		probing("https", `"-tls-addr=:8443"`, allHTTPS)+probing("slow", "", slowExec)+
		probing("http2", `"-tls-addr=:8443", -tls-http2-only`, http2))
	s.WriteManifest("unslashed.yaml", pods(unslashed))
	flips := func(kind string, up bool) func(t *testing.T) {
		return func(t *testing.T) {
			s := s.on(t)
			p := s.until(kind, "runs", func(p *v1.Pod) error {
				if container(p, "web").State.Running == nil || p.Status.PodIP == "" {
					return fmt.Errorf("it does not")
				}
				return nil
			})
			unready := func(p *v1.Pod) error { return isCondition(p, v1.PodReady, v1.ConditionFalse) }
			set := "http://" + p.Status.PodIP + ":8080/set/readyz?ok="
			if up {
				s.until(kind, "is not Ready at first", unready)
			}
			for _, ok := range []string{"true", "false", "true"} {
				testbed.Eventually(t, soon, "the switch is set", func() error { return post(set + ok) })
				if ok == "true" {
					s.ready(kind)
					continue
				}
				p = s.until(kind, "is no longer Ready", unready)
				if c := container(p, "web"); c.Ready || c.State.Running == nil || c.RestartCount != 0 {
					t.Errorf("the container is %+v", c)
				}
				s.event(kind, "Unhealthy", "Readiness probe failed: ")
			}
		}
	}
	t.Run("readiness follows httpGet", flips("rhttp", true))
	t.Run("readiness follows exec", flips("rexec", true))
	t.Run("readiness follows grpc", flips("rgrpc", false))
	t.Run("a failing httpGet liveness probe restarts the container", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("lhttp")
		if err := post("http://" + p.Status.PodIP + ":8080/set/healthz?ok=false"); err != nil {
			t.Fatal(err)
		}
		s.restartedByProbe("lhttp", "Liveness probe failed: HTTP probe failed with statuscode: 503")
		s.ready("lhttp")
	})
	t.Run("grpc serves for startup and liveness, tcpSocket for readiness", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("grpc")
		if err := post("http://" + p.Status.PodIP + ":8080/set/healthz?ok=false"); err != nil {
			t.Fatal(err)
		}
		s.restartedByProbe("grpc", `Liveness probe failed: service unhealthy (responded with "NOT_SERVING")`)
	})
	t.Run("https serves for all three, whoever signed the certificate", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("https")
		if err := post("http://" + p.Status.PodIP + ":8080/set/healthz?ok=false"); err != nil {
			t.Fatal(err)
		}
		s.restartedByProbe("https", "Liveness probe failed: HTTP probe failed with statuscode: 503")
		s.lacks("https", "FailedPreStopHook") // it was answered, with 404
	})
	t.Run("a server that speaks nothing but HTTP/2 can be probed", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("http2")
		if err := post("http://" + p.Status.PodIP + ":8080/set/healthz?ok=false"); err != nil {
			t.Fatal(err)
		}
		s.restartedByProbe("http2", "Liveness probe failed: HTTP probe failed with statuscode: 503")
	})
	t.Run("a path needs no slash, and a hook no 200", func(t *testing.T) { asksAsAURL(s.on(t)) })
	t.Run("a command that takes longer than its timeout fails", func(t *testing.T) {
		s.on(t).restartedByProbe("slow", "Liveness probe failed: command timed out")
	})
	t.Run("a port that nobody serves fails a tcpSocket liveness probe", func(t *testing.T) {
		s.on(t).restartedByProbe("ltcp", "Liveness probe failed: dial tcp ")
	})
	t.Run("the startup probe holds back the others", func(t *testing.T) {
		s := s.on(t)
		p := s.ready("startup")
		c := container(p, "web")
		if c.RestartCount != 0 || c.Started == nil || !*c.Started {
			t.Errorf("the container is %+v", c)
		}
		s.event("startup", "Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")
	})
	t.Run("nothing stays", func(t *testing.T) { s.on(t).gone("pods.yaml") })
}

func asksAsAURL(s *standalone) {
	p := s.ready("unslashed")
	path := filepath.Join(s.PodLogs, "default_"+p.Name+"_"+string(p.UID), "web", "0.log")
	log, err := os.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close() // it can be read when the pod's directory is gone
	s.RemoveManifest("unslashed.yaml")
	testbed.Eventually(s.t, soon, "the pod is gone", func() error { return s.without(string(p.UID)) })
	b, err := io.ReadAll(log)
	if err != nil {
		s.t.Fatal(err)
	}
	for ask, agent := range map[string]string{
		"GET /readyz ": "kube-probe/1.36", "GET /healthz?a=%20 ": "kube-probe/1.36",
		"GET /nowhere?postStart ": "mine", "GET /nowhere?preStop ": "kube-lifecycle/1.36",
	} {
		_, rest, found := strings.Cut(string(b), ask)
		line, _, _ := strings.Cut(rest, "\n")
		if !found || !strings.HasSuffix(line, "("+agent+")") {
			s.t.Errorf("no %sby %s in\n%s", ask, agent, b)
		}
	}
	s.lacks("unslashed", "FailedPostStartHook")
	s.lacks("unslashed", "FailedPreStopHook")
}

// lacks checks that a pod has no event of a reason so far.
func (s *standalone) lacks(name, reason string) {
	s.t.Helper()
	for _, e := range s.events(name) {
		if e.Reason == reason {
			s.t.Errorf("pod %s has the event %s: %s", name, reason, e.Message)
		}
	}
}

func (s *standalone) restartedByProbe(name, why string) {
	s.t.Helper()
	s.event(name, "Unhealthy", why)
	s.event(name, "Killing", "Container web failed liveness probe, will be restarted")
	p := s.until(name, "was restarted", func(p *v1.Pod) error {
		if c := container(p, "web"); c.RestartCount < 1 {
			return fmt.Errorf("it was not")
		}
		return nil
	})
	if last := container(p, "web").LastTerminationState.Terminated; last == nil {
		s.t.Errorf("pod %s has no last state: %+v", name, container(p, "web"))
	}
}
