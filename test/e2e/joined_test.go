package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// joined is a whole small cluster: a control plane, and the agent as its one node.
type joined struct {
	*testbed.ControlPlane
	t     *testing.T
	env   *testbed.Env
	cd    *testbed.Containerd
	agent *testbed.Agent
	admin kubernetes.Interface
}

// soon is how long a step may take on a busy machine. It bounds, and measures nothing.
const soon = 30 * time.Second

// join starts the cluster and waits until the node is Ready. The agent asks the API server who may use its own API. The API
// server is given more flags.
func join(t *testing.T, kubelet map[string]any, api ...string) *joined {
	t.Helper()
	e := testbed.New(t)
	j := &joined{t: t, env: e, ControlPlane: e.ControlPlane(api...), cd: e.Containerd(testbed.ContainerdConfig{})}
	j.agent = e.Agent(testbed.AgentConfig{Containerd: j.cd, ControlPlane: j.ControlPlane, Kubelet: j.settings(kubelet)})
	j.admin = j.Client()
	j.waitNode(j.agent.NodeName)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", j.agent.Log())
		}
	})
	return j
}

// settings are those of an agent that asks the API server who may use its own API, and more.
func (j *joined) settings(more map[string]any) map[string]any {
	all := map[string]any{
		"authentication": map[string]any{
			"x509": map[string]any{"clientCAFile": j.CA.CertFile}, "webhook": map[string]any{"enabled": true}, "anonymous": map[string]any{"enabled": false},
		},
		"authorization": map[string]any{"mode": "Webhook"},
	}
	maps.Copy(all, more)
	return all
}

// waitNode waits until a node is Ready.
func (j *joined) waitNode(name string) {
	j.t.Helper()
	j.eventually("node "+name+" is Ready", func() error {
		n, err := j.admin.CoreV1().Nodes().Get(j.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return isTrue(n.Status.Conditions, func(c v1.NodeCondition) (string, string) { return string(c.Type), string(c.Status) }, "Ready")
	})
}

func (j *joined) eventually(what string, f func() error) {
	j.t.Helper()
	testbed.Eventually(j.t, soon, what, f)
}

// in is the cluster for a subtest.
func (j *joined) in(t *testing.T) *joined {
	k := *j
	k.t = t
	return &k
}

// kubectl runs kubectl, which must succeed.
func (j *joined) kubectl(args ...string) string {
	j.t.Helper()
	out, err := j.Kubectl(args...)
	if err != nil {
		j.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out)
}

func (j *joined) pod(name string) (*v1.Pod, error) {
	return j.admin.CoreV1().Pods("default").Get(j.t.Context(), name, metav1.GetOptions{})
}

// waitPod waits until a pod is as f wants it.
func (j *joined) waitPod(name, what string, f func(*v1.Pod) error) *v1.Pod {
	j.t.Helper()
	var p *v1.Pod
	j.eventually(name+": "+what, func() (err error) {
		if p, err = j.pod(name); err != nil {
			return err
		}
		if err := f(p); err != nil {
			return fmt.Errorf("%w: %s", err, describeStatus(p.Status))
		}
		return nil
	})
	return p
}

func (j *joined) waitReady(name string) *v1.Pod {
	j.t.Helper()
	return j.waitPod(name, "Ready", ready)
}

func (j *joined) waitGone(name string) {
	j.t.Helper()
	j.eventually(name+" is gone from the API", func() error { return gone(j.Kubectl("get", "pod", name, "--ignore-not-found", "-o", "wide")) })
}

// web is the answer of a pod's web server.
func (j *joined) web(ip, path string) (string, error) {
	ctx, cancel := context.WithTimeout(j.t.Context(), 2*time.Second)
	defer cancel()
	out, err := testbed.Get(ctx, "http://"+ip+":8080"+path)
	return strings.TrimSpace(out), err
}

// events are those of an object in the API, as "Reason: message".
func (j *joined) events(name string) ([]string, error) {
	list, err := j.admin.CoreV1().Events("default").List(j.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list.Items {
		out = append(out, e.Reason+": "+e.Message)
	}
	return out, nil
}

// waitEvents waits until an object has an event that begins with each of wanted.
func (j *joined) waitEvents(name string, wanted ...string) {
	j.t.Helper()
	j.eventually("events of "+name, func() error {
		have, err := j.events(name)
		if err != nil {
			return err
		}
		for _, w := range wanted {
			if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) {
				return fmt.Errorf("no %q among %q", w, have)
			}
		}
		return nil
	})
}

func gone(out string, err error) error {
	if err == nil && strings.TrimSpace(out) != "" {
		err = errors.New(out)
	}
	return err
}

func ready(p *v1.Pod) error {
	return isTrue(p.Status.Conditions, func(c v1.PodCondition) (string, string) { return string(c.Type), string(c.Status) }, "Ready")
}

func phase(want v1.PodPhase) func(*v1.Pod) error {
	return func(p *v1.Pod) error {
		if p.Status.Phase != want {
			return fmt.Errorf("phase is not %s", want)
		}
		return nil
	}
}

func isTrue[C any](conditions []C, read func(C) (typ, status string), want string) error {
	for _, c := range conditions {
		if typ, status := read(c); typ == want && status == "True" {
			return nil
		}
	}
	return fmt.Errorf("condition %s is not True", want)
}

// describeStatus is a status in one line.
func describeStatus(s v1.PodStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s", s.Phase, s.Reason, s.Message, s.PodIP)
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, " %s=%s", c.Type, c.Status)
	}
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses) {
		fmt.Fprintf(&b, " [%s restarts %d ready %v", c.Name, c.RestartCount, c.Ready)
		if w := c.State.Waiting; w != nil {
			fmt.Fprintf(&b, " %s: %s", w.Reason, w.Message)
		}
		if e := c.State.Terminated; e != nil {
			fmt.Fprintf(&b, " ended %d %s", e.ExitCode, e.Reason)
		}
		b.WriteString("]")
	}
	return b.String()
}

// running is a program, mostly kubectl, that goes on beside the test.
type running struct {
	mu   sync.Mutex
	out  bytes.Buffer
	done chan error
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

func (r *running) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// ends fails unless the last line has a text.
func (r *running) ends(text string) error {
	out := strings.TrimSpace(r.String())
	if last := out[strings.LastIndexByte(out, '\n')+1:]; !strings.Contains(last, text) {
		return fmt.Errorf("no %q in %q", text, last)
	}
	return nil
}

func (r *running) has(text string) error {
	if out := r.String(); !strings.Contains(out, text) {
		return fmt.Errorf("no %q in %q", text, out)
	}
	return nil
}

// follow starts a kubectl that ends by itself or with the test.
func (j *joined) follow(args ...string) *running {
	j.t.Helper()
	return j.goesOn(testbed.Tool(j.t, "kubectl"), append([]string{"--kubeconfig=" + j.AdminKubeconfig}, args...)...)
}

// goesOn starts a program that ends by itself or with the test.
func (j *joined) goesOn(program string, args ...string) *running {
	j.t.Helper()
	r := &running{done: make(chan error, 1)}
	cmd := exec.CommandContext(j.t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = r, r
	if err := cmd.Start(); err != nil {
		j.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.done <- cmd.Wait() })
	j.t.Cleanup(wg.Wait)
	return r
}
