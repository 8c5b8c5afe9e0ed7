package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const slowPods = `
apiVersion: v1
kind: ConfigMap
metadata: {name: late}
data: {key: came}
---
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: minikubelet.dev/web:1
    env: [{name: KEY, valueFrom: {configMapKeyRef: {name: late, key: key}}}]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`

// TestJoined_GoesOnWithAnAPIServerThatIsSlow has everything that the API server says come 3 seconds late, which is longer
// than what the agent waits before it calls a server silent that renews its lease every 2.5 seconds. What runs goes on, what
// is new starts, and the person at the node is told.
func TestJoined_GoesOnWithAnAPIServerThatIsSlow(t *testing.T) {
	t.Parallel()
	const lease = 10 * time.Second
	e := testbed.New(t)
	j := &joined{t: t, env: e, ControlPlane: e.ControlPlane(), cd: e.Containerd(testbed.ContainerdConfig{})}
	line := j.SlowLine()
	j.agent = e.Agent(testbed.AgentConfig{
		Containerd: j.cd, ControlPlane: line.ControlPlane, Kubelet: map[string]any{"nodeLeaseDurationSeconds": int(lease / time.Second)},
	})
	j.admin = j.Client()
	j.waitNode(j.agent.NodeName)
	j.Apply(`{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: "minikubelet.dev/web:1"}]}}`)
	ip := j.waitReady("web").Status.PodIP
	shown := j.goesOn(testbed.AgentBinary(t), "get", "node", "-w", "--socket="+j.agent.Socket)
	renewals := j.renewals()
	before := len(j.agent.Log())

	line.Delay(3 * time.Second)
	j.Apply(slowPods)
	j.crash(ip)
	j.eventually("what ends is restarted", func() error { return j.local(ip, 1) })
	j.comesInOrder("late")
	p, err := j.pod("late")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := j.web(p.Status.PodIP, "/env?name=KEY"); out != "came" {
		t.Errorf("the new pod has %q of its ConfigMap (%v)", out, err)
	}
	j.eventually("get node -w shows it", func() error { return shown.ends("Ready,APIServerSlow ") })
	out, err := j.agent.CLI("describe", "node")
	if line := lineOf(out, "APIServerSlow  "); !regexp.MustCompile(`the API server is slow: it takes [3-9](\.\d)?s to answer`).MatchString(line) {
		t.Errorf("describe node says %q, %v", line, err)
	}
	line.Delay(0)
	j.eventually("get node -w shows that it is over", func() error { return shown.ends("Ready  ") })
	j.eventually("the log says that it is over", func() error {
		if !strings.Contains(j.agent.Log()[before:], "the API server is quick again") {
			return errors.New("not yet")
		}
		return nil
	})
	gaps := renewals()
	for _, gap := range gaps {
		if gap >= lease {
			t.Errorf("the lease was renewed after %s", gap)
		}
	}
	if said := strings.Count(j.agent.Log()[before:], "the API server is slow: "); said == 0 || said > len(gaps)/2 {
		t.Errorf("said to be slow %d times in %d renewals", said, len(gaps))
	}
}

// renewals watches the node's lease, from the first look on; what it returns ends that and tells the times between them.
func (j *joined) renewals() func() []time.Duration {
	j.t.Helper()
	ctx, cancel := context.WithCancel(j.t.Context())
	w, err := j.admin.CoordinationV1().Leases("kube-node-lease").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + j.agent.NodeName})
	if err != nil {
		j.t.Fatal(err)
	}
	var gaps []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		var last time.Time
		for e := range w.ResultChan() {
			l, ok := e.Object.(*coordinationv1.Lease)
			if !ok {
				continue
			}
			if !last.IsZero() {
				gaps = append(gaps, l.Spec.RenewTime.Sub(last))
			}
			last = l.Spec.RenewTime.Time
		}
	})
	return func() []time.Duration {
		cancel()
		w.Stop()
		wg.Wait()
		return gaps
	}
}

// comesInOrder waits until a pod is Ready, and fails when it was told to be less far than it was told before.
func (j *joined) comesInOrder(name string) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), soon)
	defer cancel()
	w, err := j.admin.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		j.t.Fatal(err)
	}
	defer w.Stop()
	far, last := 0, fmt.Sprint(name, " was never seen")
	for e := range w.ResultChan() {
		p, ok := e.Object.(*v1.Pod)
		if !ok {
			continue
		}
		now := 0
		for _, step := range []bool{len(p.Status.ContainerStatuses) > 0, p.Status.PodIP != "", p.Status.Phase == v1.PodRunning, ready(p) == nil} {
			if step {
				now++
			}
		}
		if last = describeStatus(p.Status); now < far {
			j.t.Errorf("%s goes back to %s", name, last)
		}
		if far = now; ready(p) == nil {
			return
		}
	}
	j.t.Fatalf("%s is not Ready: %s", name, last)
}
