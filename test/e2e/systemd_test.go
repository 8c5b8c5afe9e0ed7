package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestSystemd_InstallsServesAndLeaves takes the program alone to a machine with systemd and Debian's containerd, offline:
// it installs itself, and then a person, a watchdog, a crash and a reboot do to the service what they do. Through all but
// the reboot the pod's containers are the same. In the end it uninstalls itself and leaves what a person put there.
func TestSystemd_InstallsServesAndLeaves(t *testing.T) {
	e := testbed.New(t)
	s := &service{t: t, n: e.SystemdNode()}
	s.n.Install(testbed.AgentBinary(t), "/root/minikubelet", 0o755)
	// The watchdog's 30 s are long for a test; that it is on is the unit's.
	s.n.Write("/etc/systemd/system/minikubelet.service.d/test.conf", "[Service]\nWatchdogSec=3s\n", 0o644)
	s.n.Install(e.ImageArchive(), "/var/lib/kubelet/images/test.tar", 0o600)
	s.n.Write("/etc/kubernetes/manifests/web.yaml", systemdPod, 0o600)
	s.n.Write("/etc/default/minikubelet", "MINIKUBELET_FLAGS=\"--node-labels=example.com/rack=7 --max-pods=9 --config-dir=/root/conf.d --anonymous-auth --authorization-mode=AlwaysAllow\"\n", 0o644)
	s.n.Write("/root/conf.d/10-logs.conf", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nenableSystemLogQuery: true\n", 0o644)

	t.Log("install --now: Type=notify, so it returns when the agent says that it is ready, and every socket answers")
	said := s.n.Must("/root/minikubelet", "install", "--now")
	for _, line := range []string{"wrote /usr/local/bin/minikubelet", "wrote /etc/minikubelet/config.yaml", "minikubelet runs"} {
		if !strings.Contains(said, line) {
			t.Errorf("install says %q, without %q", said, line)
		}
	}
	if _, err := s.pods(); err != nil {
		t.Errorf("the agent is ready and does not answer: %v", err)
	}
	if got := s.show("ActiveState") + " " + s.show("UnitFileState"); got != "active enabled" {
		t.Fatalf("the service is %s", got)
	}
	s.n.Must("systemd-analyze", "verify", "/etc/systemd/system/minikubelet.service")
	if unit := s.n.Must("grep", "WatchdogSec", "/etc/systemd/system/minikubelet.service"); !strings.Contains(unit, "WatchdogSec=30s") {
		t.Errorf("the unit has no watchdog: %s", unit)
	}
	before := s.podReady()
	testbed.Eventually(t, 20*time.Second, "systemctl status tells of the pods", func() error {
		if got := s.show("StatusText"); got != "pods: 1, ready: 1" {
			return errors.New(got)
		}
		return nil
	})
	if got := s.n.Must("minikubelet", "describe", "node"); !strings.Contains(got, "example.com/rack=7") || s.n.Must("minikubelet", "get", "node", "-o", "name") != "node/node1\n" {
		t.Errorf("the flags of /etc/default/minikubelet have no effect:\n%s", got)
	}
	if got := s.n.Must("minikubelet", "exec", "web", "-c", "shell", "--", "cat", "/page/text"); got != "hello" {
		t.Errorf("exec gives %q", got)
	}
	if pid := s.show("MainPID"); s.n.Must("nsenter", "-t", pid, "-m", "-n", "true") != "" {
		t.Error("the agent's namespaces cannot be entered")
	}

	s.logQueries()

	t.Log("the agent gives signs of life, and is not restarted while it does")
	pid, pinged := s.show("MainPID"), s.show("WatchdogTimestampMonotonic")
	for range 3 {
		testbed.Eventually(t, 3*time.Second, "a sign of life", func() error {
			now := s.show("WatchdogTimestampMonotonic")
			if now == pinged {
				return errors.New("none since " + pinged)
			}
			pinged = now
			return nil
		})
	}
	if now := s.show("MainPID"); now != pid {
		t.Errorf("the agent was restarted by itself: pid %s, then %s", pid, now)
	}

	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a hung agent is restarted by the watchdog", func() { s.n.Must("kill", "-s", "STOP", s.show("MainPID")) }},
		{"restarted by a person", func() { s.n.Must("systemctl", "restart", "minikubelet") }},
		{"uninstalled and installed again", func() {
			s.n.Must("minikubelet", "uninstall")
			s.n.Must("pgrep", "-x", "web")
			if said := s.n.Must("/root/minikubelet", "install", "--now"); strings.Count(said, "wrote") != 3 {
				t.Errorf("install says %q", said)
			}
		}},
		{"installed over itself", func() {
			s.n.Must("systemctl", "stop", "minikubelet")
			if said := s.n.Must("minikubelet", "install", "--now"); strings.Contains(said, "wrote") {
				t.Errorf("the second install says %q", said)
			}
		}},
		{"killed", func() { s.n.Must("systemctl", "kill", "--signal=KILL", "--kill-who=main", "minikubelet") }},
	} {
		t.Log(step.name)
		pid := s.show("MainPID")
		step.do()
		testbed.Eventually(t, 20*time.Second, "another agent is active", func() error {
			if now := s.show("MainPID"); now == pid || now == "0" || s.show("ActiveState") != "active" {
				return fmt.Errorf("%s, pid %s, was %s", s.show("ActiveState"), now, pid)
			}
			return nil
		})
		if now := s.podReady(); now != before {
			t.Errorf("%s: the pod's containers are others:\n%s\nbefore:\n%s", step.name, now, before)
		}
	}

	t.Log("stopped: the agent ends in order, the containers run on")
	s.n.Must("systemctl", "stop", "minikubelet")
	if got := s.show("Result"); got != "success" {
		t.Errorf("the service ended with %s", got)
	}
	s.n.Must("pgrep", "-x", "web")
	s.n.Must("systemctl", "start", "minikubelet")
	if now := s.podReady(); now != before {
		t.Errorf("stopped and started: the pod's containers are others:\n%s\nbefore:\n%s", now, before)
	}

	s.journal()

	t.Log("without a container runtime the agent waits, says so, and is not restarted for it")
	s.n.Must("systemctl", "stop", "containerd")
	s.n.Must("systemctl", "restart", "--no-block", "minikubelet")
	testbed.Eventually(t, 20*time.Second, "the agent waits", func() error {
		if got := s.show("ActiveState") + ": " + s.show("StatusText"); got != "activating: waiting for the container runtime at /run/containerd/containerd.sock" {
			return errors.New(got)
		}
		return nil
	})
	pid = s.show("MainPID")
	s.n.Must("systemctl", "start", "containerd")
	if now := s.podReady(); now != before || s.show("MainPID") != pid {
		t.Errorf("after the runtime's absence the agent has pid %s, was %s, and the pod's containers are\n%s\nbefore:\n%s", s.show("MainPID"), pid, now, before)
	}

	t.Log("a reload of the configuration keeps the agent")
	pid = s.show("MainPID")
	s.n.Must("systemctl", "reload", "minikubelet")
	if now := s.show("MainPID"); now != pid || s.show("ActiveState") != "active" {
		t.Errorf("reloaded: %s, pid %s, was %s", s.show("ActiveState"), now, pid)
	}

	t.Log("the machine boots again: the pod comes back")
	s.n.Reboot()
	if now := s.podReady(); now == before {
		t.Errorf("the containers are the same after a reboot: %s", now)
	}

	t.Log("uninstall --purge: nothing is left but what a person put there")
	said = s.n.Must("minikubelet", "uninstall", "--purge")
	if err := s.nothingLeft(); err != nil {
		t.Errorf("%v\nuninstall says %q", err, said)
	}
	left := s.n.Must("sh", "-c", "find /etc/minikubelet /etc/kubernetes /var/lib/kubelet /usr/local/bin /etc/systemd/system/minikubelet.service "+
		"/etc/cni/net.d /var/log/pods /var/log/containers /run/minikubelet -type f 2>/dev/null || true")
	if want := "/etc/kubernetes/manifests/web.yaml\n/var/lib/kubelet/images/test.tar\n"; left != want {
		t.Errorf("the files that are left are %q, want %q", left, want)
	}
}

// journal checks what the journal has of the service: lines with their priority, and no time of their own.
func (s *service) journal() {
	s.t.Helper()
	journal := s.n.Must("journalctl", "--unit=minikubelet", "--output=cat", "--no-pager")
	for _, line := range []string{"level=INFO msg=\"minikubelet starts\"", "msg=\"minikubelet ends; containers go on running\"\n"} {
		if !strings.Contains(journal, line) {
			s.t.Errorf("the journal lacks %q:\n%s", line, journal)
		}
	}
	for _, word := range []string{"\ntime=20", "<6>", "err=<nil>"} {
		if strings.Contains(journal, word) {
			s.t.Errorf("the journal has %q:\n%s", word, journal)
		}
	}
	if info := s.n.Must("journalctl", "--unit=minikubelet", "--output=cat", "--no-pager", "--priority=info..info", "_COMM=minikubelet"); !strings.Contains(info, "minikubelet starts") {
		s.t.Errorf("lines have no priority: %s", info)
	}
}

// logQueries asks the node's API for what services wrote, as kubectl get --raw does.
func (s *service) logQueries() {
	s.t.Helper()
	for query, want := range map[string]string{
		"query=minikubelet":                                "minikubelet starts",
		"query=minikubelet&pattern=minikubelet.starts":     "minikubelet starts",
		"query=containerd.service&tailLines=1":             "containerd[",
		"query=minikubelet&sinceTime=2099-01-02T03:04:05Z": "-- No entries --",
		"query=dpkg&query=minikubelet":                     "minikubelet starts",
		"query=no-such-service":                            "log not found for no-such-service",
		"query=/apt/history.log":                           "cannot show the log apt/history.log",
	} {
		got, err := s.n.FromHost("curl", "-sk", "https://127.0.0.1:10250/logs/?"+query)
		if err != nil || !strings.Contains(got, want) || strings.Contains(query, "tailLines=1") && strings.Count(got, "\n") > 2 {
			s.t.Errorf("%s: %.300q, %v; want %q", query, got, err, want)
		}
	}
}

const systemdPod = `apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {text: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: web
    image: ` + testbed.WebImage + `
    imagePullPolicy: Never
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
    resources: {limits: {memory: 64Mi}}
    volumeMounts:
    - {name: page, mountPath: /page}
    - {name: memory, mountPath: /memory}
  - name: shell
    image: ` + testbed.BusyboxImage + `
    imagePullPolicy: Never
    command: [sh, -c, "trap 'exit 0' TERM; cat /page/text; while :; do sleep 1; done"]
    readinessProbe: {exec: {command: [grep, -q, hello, /page/text]}, periodSeconds: 1}
    volumeMounts:
    - {name: page, mountPath: /page}
  volumes:
  - {name: page, configMap: {name: page}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
`

// service is the agent as a service of a node.
type service struct {
	t *testing.T
	n *testbed.SystemdNode
}

// show is a property of the unit, as systemctl names it.
func (s *service) show(property string) string {
	s.t.Helper()
	return strings.TrimSpace(s.n.Must("systemctl", "show", "--value", "--property="+property, "minikubelet"))
}

func (s *service) pods() ([]v1.Pod, error) {
	out, err := s.n.Run("minikubelet", "get", "pods", "--output=json")
	if err != nil {
		return nil, err
	}
	var list v1.PodList
	return list.Items, json.Unmarshal([]byte(out), &list)
}

// podReady waits until the pod is ready and tells its containers apart from any others: their IDs, starts and restarts.
func (s *service) podReady() string {
	s.t.Helper()
	var seen string
	testbed.Eventually(s.t, 30*time.Second, "the pod is ready", func() error {
		pods, err := s.pods()
		if err != nil || len(pods) != 1 {
			return errors.Join(err, fmt.Errorf("%d pods", len(pods)))
		}
		if n := len(pods[0].Status.ContainerStatuses); n != 2 {
			return fmt.Errorf("%d containers", n)
		}
		seen = "ip " + pods[0].Status.PodIP
		for _, c := range pods[0].Status.ContainerStatuses {
			if !c.Ready || c.State.Running == nil {
				return fmt.Errorf("container %s: %+v", c.Name, c)
			}
			seen += fmt.Sprintf("\n%s %s since %s, %d restarts", c.Name, c.ContainerID, c.State.Running.StartedAt.UTC(), c.RestartCount)
		}
		return nil
	})
	return seen
}

// nothingLeft returns an error that names what is left on the node of pods and of the agent.
func (s *service) nothingLeft() error {
	for what, cmd := range map[string][]string{
		"mounts":      {"sh", "-c", "grep /var/lib/kubelet/pods/ /proc/mounts || true"},
		"directories": {"sh", "-c", "ls /var/lib/kubelet | grep -v '^images$' || true"},
		"namespaces":  {"sh", "-c", "ls /run/netns"},
		"bridges":     {"sh", "-c", "ls /sys/class/net | grep minikubelet || true"},
		"rules":       {"sh", "-c", "iptables-save | grep -i -e cni -e minikubelet || true"},
		"processes":   {"sh", "-c", "pgrep -x minikubelet || true"},
		"plugins":     {"sh", "-c", "find / -xdev -name '*minikubelet*' -not -path '/root/*' -not -path '/proc/*' -not -path '/var/log/journal/*' -not -path '*/minikubelet.service.d*' -not -path '/etc/default/*' || true"},
		"shims":       {"sh", "-c", "pgrep -x containerd-shim || true"},
		"cgroups":     {"sh", "-c", "find /sys/fs/cgroup -type d -name 'kubepods*' -o -type d -name 'pod*-*'"},
	} {
		left, err := s.n.Run(cmd...)
		if err != nil {
			return err
		}
		if left = strings.TrimSpace(left); left != "" {
			return fmt.Errorf("%s are left: %s", what, left)
		}
	}
	return nil
}
