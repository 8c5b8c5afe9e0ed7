package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const talking = `
metadata: {name: talking, namespace: shop, labels: {part: talk}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "echo one; echo two; while :; do test -e /tmp/end && exit 2; sleep 0.05; done"]
  - name: other
    image: $busybox
    command: [sh, -c, "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"]
`

// TestStandaloneCLI uses the commands as a person at the node does, with and without an agent that answers.
func TestStandaloneCLI(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	watched := s.follow("get", "pods", "-w", "-n", "shop")
	s.WriteManifest("talking.yaml", pods(talking))
	full := "talking-" + s.NodeName
	watched.until(t, full+"   2/2   Running   0   10.241.")

	for name, c := range map[string]struct{ args, want []string }{
		"a table":          {[]string{"get", "pods"}, []string{"NAMESPACE", "WAITS FOR", "shop        " + full + "   2/2     Running   0          10.241."}},
		"more columns":     {[]string{"get", "pods", "-o", "wide"}, []string{"SOURCE", "file", "BestEffort", testbed.BusyboxImage}},
		"events":           {[]string{"get", "events"}, []string{"AGE", "Started", "pod/" + full, "Container started"}},
		"names":            {[]string{"get", "pods", "-o", "name", "-A"}, []string{"pod/" + full + "\n"}},
		"labels":           {[]string{"get", "pods", "-l", "part=talk", "--no-headers"}, []string{"shop   " + full}},
		"the node":         {[]string{"get", "node", "-o", "wide"}, []string{"NAME", s.NodeName, "Ready", "containerd://"}},
		"all of the node":  {[]string{"describe", "node"}, []string{"Name:", s.NodeName, "Resources:", "memory", "Conditions:", "KubeletReady", "Starting kubelet."}},
		"all logs":         {[]string{"logs", "talking", "--all-containers", "--prefix", "--tail=1"}, []string{"[c] two\n", "[other] line"}},
		"a log since":      {[]string{"logs", full, "-c", "c", "--since-time", "2020-01-01T00:00:00Z", "--limit-bytes", "4"}, []string{"one\n"}},
		"both versions":    {[]string{"version"}, []string{"minikubelet v1.36", "agent v1.36"}},
		"version as JSON":  {[]string{"version", "-o", "json"}, []string{`"agent": {`, `"gitVersion": "v1.36`}},
		"all of a pod":     {[]string{"describe", "pod", "talking"}, []string{"Name:", full, "QoS class:", "BestEffort", "Conditions:", "Ready", "Events:", "Started"}},
		"a log":            {[]string{"logs", "talking"}, []string{"one\ntwo\n"}},
		"a log's end":      {[]string{"logs", full, "-c", "c", "--tail", "1"}, []string{"two\n"}},
		"a log with times": {[]string{"logs", full, "-c", "c", "--timestamps"}, []string{"Z one\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := s.CLI(c.args...)
			for _, want := range c.want {
				if err != nil || !strings.Contains(out, want) {
					t.Errorf("%q is not in %q, %v", want, out, err)
				}
			}
		})
	}
	t.Run("json and yaml are Kubernetes' own", func(t *testing.T) { machineReadable(s.on(t), full) })
	t.Run("a log is followed, and the previous one kept", func(t *testing.T) {
		s := s.on(t)
		s.follow("logs", "-f", "talking", "-c", "other").until(t, "line 12")
		mine := s.follow("logs", "-f", "talking", "-c", "c")
		mine.until(t, "two")
		if out, err := s.cri("exec", "talking", "c", "touch", "/tmp/end"); err != nil {
			t.Fatal(out, err)
		}
		mine.ends(t)
		watched.until(t, full+"   2/2   Running   1 ")
		if out, err := s.CLI("logs", "talking", "-c", "c", "--previous"); err != nil || out != "one\ntwo\n" {
			t.Errorf("the previous log is %q, %v", out, err)
		}
	})
	t.Run("a shell completes kinds, pods and containers", func(t *testing.T) {
		s, socket := s.on(t), "--socket="+s.Socket
		s.exits(0, "pods\twhat", "__complete", "get", socket, "")
		s.exits(0, full+"\tshop, Running", "__complete", "logs", socket, "talk")
		s.exits(0, "other\t", "__complete", "exec", "talking", socket, "-c", "")
		s.exits(0, "__start_minikubelet", "completion", "bash")
		s.exits(0, "#compdef minikubelet", "completion", "zsh")
		s.exits(0, "__minikubelet_", "completion", "fish")
	})
	t.Run("exec is as if the program ran here", func(t *testing.T) { execs(s.on(t)) })
	t.Run("errors say what to do", func(t *testing.T) { cliErrors(s.on(t)) })
	t.Run("validate checks files", func(t *testing.T) {
		s := s.on(t)
		good := s.env.WriteFile(pods(talking), "check", "good.yaml")
		bad := s.env.WriteFile(strings.ReplaceAll(pods(talking), "name: c\n", "name: C_\n"), "check", "bad.yaml")
		socket := "--socket=" + s.Socket
		s.exits(0, "good.yaml: ok, 1 object", "validate", good, socket)
		s.exits(1, "spec.containers[0].name", "validate", good, bad, socket)
		s.exits(1, "good.yaml: ok, 1 object", "validate", filepath.Dir(good), socket)
		s.exits(2, "give the files", "validate")
		s.exits(1, "no such file", "validate", filepath.Join(filepath.Dir(good), "none.yaml"), socket)
		lacking := s.env.WriteFile(pods(lackingPod), "lacking.yaml")
		for _, words := range []string{
			"lacking.yaml: document 1: OutOfcpu: Node didn't have enough resource: cpu, requested: 900000",
			`spec.containers[0].image: image "absent:1" is not on this node and imagePullPolicy is Never`,
			`spec.containers[0].env[0].valueFrom.configMapKeyRef: there is no ConfigMap default/settings`,
			"spec.volumes[0].hostPath.path: there is no /no/such/path on this node",
			"4 problems",
		} {
			s.exits(1, words, "validate", lacking, socket)
		}
		s.exits(0, "lacking.yaml: ok", "validate", "--offline", lacking)
		s.exits(0, "what this node lacks is not checked: no agent answers", "validate", lacking, "--socket=/none")
	})
	t.Run("a terminal has colours and a table that is redrawn", func(t *testing.T) { terminals(s.on(t), full) })
	t.Run("attach shows what is written from now on", func(t *testing.T) {
		s.on(t).follow("attach", "talking", "-c", "other").until(t, "line ")
	})
	t.Run("another user than root is refused", func(t *testing.T) { refusesOthers(s.on(t)) })
	t.Run("kubectl reads the local API", func(t *testing.T) { kubectlReads(s.on(t), full) })
	t.Run("removal is seen", func(t *testing.T) {
		s := s.on(t)
		s.gone("talking.yaml")
		watched.until(t, "(gone)")
	})
	s.Stop()
	t.Run("no agent is told", func(t *testing.T) {
		s := s.on(t)
		s.exits(4, "no agent answers on "+s.Socket+": start it (systemctl start minikubelet)", "get", "pods", "--socket="+s.Socket)
		s.exits(125, "no agent answers", "exec", "talking", "--socket="+s.Socket, "--", "true")
		s.exits(0, "minikubelet v1.36", "version", "--socket="+s.Socket)
	})
}

// terminals looks at what a person's window shows.
func terminals(s *standalone, full string) {
	p := openTerminal(s.t)
	p.resize(24, 60)
	show := func(environ string, args ...string) *exec.Cmd {
		s.t.Helper()
		cmd := exec.CommandContext(s.t.Context(), testbed.AgentBinary(s.t), append(args, "--socket="+s.Socket)...)
		cmd.Env = append(os.Environ(), "TERM=xterm", environ)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = p.slave, p.slave, p.slave
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		return cmd
	}
	if err := show("NO_COLOR=1", "get", "pods").Wait(); err != nil {
		s.t.Error(err)
	}
	p.shows(full)
	if seen := p.seen(); strings.Contains(seen, "\x1b[") {
		s.t.Errorf("NO_COLOR has no effect: %q", seen)
	}
	if err := show("NO_COLOR=", "get", "pods").Wait(); err != nil {
		s.t.Error(err)
	}
	p.shows("\x1b[32mRunning\x1b[0m")
	watching := show("NO_COLOR=1", "get", "pods", "-w")
	s.WriteManifest("second.yaml", strings.ReplaceAll(pods(talking), "name: talking", "name: second"))
	p.shows("\x1b[2A\x1b[JNAMESPACE") // up over the header and one pod
	p.shows("second-")
	s.RemoveManifest("second.yaml")
	if err := errors.Join(watching.Process.Signal(syscall.SIGINT), watching.Wait()); err != nil {
		s.t.Errorf("Ctrl-C ends a watch with %v", err)
	}
	for _, line := range strings.Split(p.seen()[strings.LastIndex(p.seen(), "NAMESPACE"):], "\r\n") {
		if utf8.RuneCountInString(line) > 60 {
			s.t.Errorf("a line is wider than the window: %q", line)
		}
	}
}

// refusesOthers asks as nobody: first the mode of the socket keeps them out, then, with the mode undone, the agent.
func refusesOthers(s *standalone) {
	program, err := os.ReadFile(testbed.AgentBinary(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	own := s.env.WriteFile(string(program), "cli", "minikubelet")
	for path := filepath.Dir(own); path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		err = errors.Join(err, os.Chmod(path, 0o755))
	}
	if err := errors.Join(err, os.Chmod(own, 0o755), os.Chmod(filepath.Dir(s.Socket), 0o755)); err != nil {
		s.t.Fatal(err)
	}
	ask := func(says string) {
		s.t.Helper()
		cmd := exec.CommandContext(s.t.Context(), own, "get", "pods", "--socket="+s.Socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if exitCode(err) != 4 || !strings.Contains(string(out), says) {
			s.t.Errorf("nobody gets %v and %q, want exit code 4 and %q", err, out, says)
		}
	}
	ask("permission denied: run this as root")
	if err := os.Chmod(s.Socket, 0o666); err != nil {
		s.t.Fatal(err)
	}
	ask("the local API is for root alone")
	if err := os.Chmod(s.Socket, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

const lackingPod = `
metadata: {name: lacking}
spec:
  containers:
  - name: c
    image: absent:1
    imagePullPolicy: Never
    resources: {requests: {cpu: "900"}}
    env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}]
  volumes: [{name: v, hostPath: {path: /no/such/path, type: Directory}}]
`

// kubectlReads uses kubectl, which knows no unix sockets, through a port that leads to the agent's.
func kubectlReads(s *standalone, full string) {
	port := forwardPort(s.t, s.Socket)
	kubectl := func(args ...string) string {
		s.t.Helper()
		out, err := testbed.Run(s.t.Context(), "", testbed.Tool(s.t, "kubectl"), append([]string{
			"--server=http://" + port, "--kubeconfig=/dev/null", "--cache-dir=" + s.t.TempDir(), "--namespace=shop",
		}, args...)...)
		if err != nil {
			s.t.Error(err)
		}
		return out
	}
	for want, args := range map[string][]string{
		"pod/" + full + "\n": {"get", "pods", "--output=name"},
		"Running":            {"get", "pods", full, "--output=jsonpath={.status.phase}"},
		s.NodeName:           {"get", "nodes", "--output=name"},
		"Container started":  {"describe", "pod", full},
		"Started":            {"get", "events", "--field-selector=involvedObject.name=" + full, "--output=jsonpath={.items[*].reason}"},
		"two\n":              {"logs", full, "--container=c", "--tail=1"},
		"through kubectl\n":  {"exec", full, "--container=other", "--", "echo", "through kubectl"},
		"v1.36":              {"version"},
		"2/2     Running":    {"get", "pods"},
		"pod/" + full + "  ": {"get", "events"},
		"NAMESPACE   NAME":   {"get", "pods", "--all-namespaces"},
		`"type":"ADDED"`:     {"get", "--raw=/api/v1/pods?watch=true&timeoutSeconds=1"},
	} {
		if out := kubectl(args...); !strings.Contains(out, want) {
			s.t.Errorf("kubectl %s says %q, without %q", strings.Join(args, " "), out, want)
		}
	}
}

// forwardPort listens on a port and passes each connection on to a unix socket.
func forwardPort(t *testing.T, socket string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	pass := func(in net.Conn) {
		defer in.Close()
		out, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		defer out.Close()
		var back sync.WaitGroup
		back.Go(func() {
			_, _ = io.Copy(in, out)
			_ = in.Close()
		})
		_, _ = io.Copy(out, in)
		_ = out.Close()
		back.Wait()
	}
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { pass(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Wait()
	})
	return l.Addr().String()
}

func machineReadable(s *standalone, full string) {
	var list v1.PodList
	out, err := s.CLI("get", "pods", "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || list.Kind != "PodList" || len(list.Items) != 1 || list.Items[0].Name != full {
		s.t.Errorf("the list is %s, %v", out, err)
	}
	var p v1.Pod
	out, err = s.CLI("get", "pods", full, "-o", "yaml")
	if err != nil || yaml.Unmarshal([]byte(out), &p) != nil || p.Kind != "Pod" || p.APIVersion != "v1" || p.Status.Phase != v1.PodRunning {
		s.t.Errorf("the pod is %s, %v", out, err)
	}
	var events v1.EventList
	out, err = s.CLI("get", "events", "-o", "json", "-n", "shop")
	if err != nil || json.Unmarshal([]byte(out), &events) != nil || events.Kind != "EventList" || len(events.Items) == 0 {
		s.t.Fatalf("the events are %s, %v", out, err)
	}
	for _, e := range events.Items {
		if e.Source.Component != "kubelet" || e.InvolvedObject.Kind != "Pod" || e.InvolvedObject.UID != p.UID {
			s.t.Errorf("an event is %+v", e)
		}
	}
}

// execs runs programs in a container, with and without a terminal.
func execs(s *standalone) {
	socket := "--socket=" + s.Socket
	s.exits(7, "", "exec", "talking", socket, "--", "sh", "-c", "exit 7")
	s.exits(126, "no-such-program", "exec", "talking", socket, "--", "no-such-program")
	s.exits(125, `container "none" not found in pod`, "exec", "talking", "-c", "none", socket, "--", "true")
	s.exits(125, `pod "none" is not on this node`, "exec", "none", socket, "--", "true")

	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(s.t.Context(), testbed.AgentBinary(s.t), "exec", "-i", "talking", "-c", "other", socket, "--", "sh", "-c", "cat; echo words >&2")
	cmd.Env = append(os.Environ(), "DEBUG=1") // which a library would take for its own
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("through\nand back\n"), &out, &errOut
	if err := cmd.Run(); err != nil || out.String() != "through\nand back\n" || errOut.String() != "words\n" {
		s.t.Errorf("exec -i: %v, %q, %q", err, out.String(), errOut.String())
	}

	p := openTerminal(s.t)
	p.resize(44, 133)
	cmd = exec.CommandContext(s.t.Context(), testbed.AgentBinary(s.t), "exec", "-it", "talking", socket, "--", "sh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.slave, p.slave, p.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	p.types("tty\n")
	p.shows("/dev/pts/")
	p.hasSize("44 133")
	p.resize(20, 77)
	p.hasSize("20 77")
	p.types("exit 9\n")
	if err := cmd.Wait(); exitCode(err) != 9 {
		s.t.Errorf("the shell ended with %v, want exit code 9: %q", err, p.seen())
	}
}

func cliErrors(s *standalone) {
	socket := "--socket=" + s.Socket
	s.exits(3, `pod "none" is not on this node: see minikubelet get pods`, "describe", "pod", "none", socket)
	s.exits(3, `pod "none" is not on this node`, "get", "pods", "talking", "none", socket)
	s.exits(3, `container "none" not found in pod`, "logs", "talking", "-c", "none", socket)
	s.exits(3, "this node is "+s.NodeName, "describe", "node", "none", socket)
	s.exits(1, "previous terminated container", "logs", "talking", "-c", "other", "--previous", socket)
	s.exits(2, "give pods, events or node", "get", "services", socket)
	s.exits(2, "give json, yaml, name or wide", "get", "pods", "-o", "xml", socket)
	s.exits(2, "-l a=,: ", "get", "pods", "-l", "a=,", socket)
	s.exits(2, "RFC 3339", "logs", "talking", "--since-time", "yesterday", socket)
	s.exits(2, "give one pod, then --", "exec", "talking", "ls", socket)
	s.exits(2, "unknown flag", "get", "pods", "--nonsense", socket)
	s.exits(2, "unknown command", "gte", "pods")
}

// exits runs a command and checks its exit code and a part of what it says.
func (s *standalone) exits(code int, says string, args ...string) {
	s.t.Helper()
	b, err := exec.CommandContext(s.t.Context(), testbed.AgentBinary(s.t), args...).CombinedOutput()
	if got := exitCode(err); got != code || !strings.Contains(string(b), says) {
		s.t.Errorf("minikubelet %s: exit code %d and %q, want %d and %q", strings.Join(args, " "), got, b, code, says)
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// stream is a command that goes on.
type stream struct {
	lines chan string
	done  chan struct{}
}

// follow runs a command that goes on until the test ends.
func (s *standalone) follow(args ...string) *stream {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), testbed.AgentBinary(s.t), append(args, "--socket="+s.Socket)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	f := &stream{lines: make(chan string, 10000), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			f.lines <- in.Text()
		}
		_ = cmd.Wait()
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-f.done
	})
	return f
}

// until waits for a line that contains words.
func (f *stream) until(t *testing.T, words string) {
	t.Helper()
	var seen []string
	for timeout := time.After(soon); ; {
		select {
		case l := <-f.lines:
			if seen = append(seen, l); strings.Contains(l, words) {
				return
			}
		case <-timeout:
			t.Fatalf("no line has %q: %q", words, seen)
		}
	}
}

func (f *stream) ends(t *testing.T) {
	t.Helper()
	select {
	case <-f.done:
	case <-time.After(soon):
		t.Fatal("the command goes on though its container has ended")
	}
}

// cri runs a command in a container of a pod of the namespace shop.
func (s *standalone) cri(_, name, in string, command ...string) (string, error) {
	s.t.Helper()
	var p v1.Pod
	if err := s.local("/api/v1/namespaces/shop/pods/"+name+"-"+s.NodeName, &p); err != nil {
		return "", err
	}
	id := strings.TrimPrefix(container(&p, in).ContainerID, "containerd://")
	return s.cd.Ctr(append([]string{"tasks", "exec", "--exec-id", fmt.Sprintf("e%d", time.Now().UnixNano()), id}, command...)...)
}
