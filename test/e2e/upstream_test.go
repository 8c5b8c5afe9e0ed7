package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/minikubelet/minikubelet/pkg/events"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/sources"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// upstream is the agent's side of an API server alone, with nothing that runs pods behind it.
type upstream struct {
	client *kube.Client
	node   *node.Agent
	writer *writer.Writer

	objects *kube.Objects
	events  *events.Recorder
	poked   atomic.Int32

	mu   sync.Mutex
	pods []*v1.Pod
}

func (u *upstream) pod(name string) *v1.Pod {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.pods {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// joinUpstream runs the agent's side for a node until the test ends.
func joinUpstream(t *testing.T, e *testbed.Env, kubeconfig, name string) *upstream {
	t.Helper()
	return joinUpstreamLogging(t, e, kubeconfig, name, func(line string) { t.Log(line) })
}

func joinUpstreamLogging(t *testing.T, e *testbed.Env, kubeconfig, name string, say func(line string)) *upstream {
	t.Helper()
	log := slog.New(slog.NewTextHandler(upstreamLog(say), nil))
	client, err := kube.New(kube.Config{Kubeconfig: kubeconfig, UserAgent: "minikubelet/test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	beat, err := client.Unlimited()
	if err != nil {
		t.Fatal(err)
	}
	machine, err := node.ReadMachine("/", e.Dir)
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{client: client}
	u.node = node.New(node.Config{
		API: beat, Watch: client, Register: true, Registration: node.Registration{Name: name, Labels: map[string]string{"zone": "a"}},
		Facts: node.Facts{
			Machine: machine, MaxPods: 110, Hostname: name, Port: 10250, Version: "v1.36.3",
			IPs: []netip.Addr{netip.MustParseAddr(e.NodeIP())},
		},
		Log: log,
	})
	queue := kube.NewQueue(nil)
	u.writer = writer.New(writer.Config{API: client, Queue: queue, Node: u.node.Node, Log: log})
	api := sources.API{Client: client, Node: name, Log: log, Seen: u.writer.Seen, Emit: func(pods []*v1.Pod) {
		u.mu.Lock()
		u.pods = pods
		u.mu.Unlock()
		u.writer.Mirrors(pods)
	}}
	u.objects = kube.NewObjects(client, func(types.UID) { u.poked.Add(1) }, nil, log)
	u.events = events.New(events.Config{API: beat, Queue: queue, Node: u.node.Node, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		u.node.Run(ctx, node.With{
			Observe: func(context.Context) node.Observation { return node.Observation{RuntimeVersion: "containerd://2.4.2"} },
			Drivers: func() []storagev1.CSINodeDriver { return []storagev1.CSINodeDriver{{Name: "csi.test", NodeID: name}} },
			Changed: u.writer.Poke,
		})
	})
	for _, run := range []func(context.Context){queue.Run, u.objects.Run, api.Run} {
		wg.Go(func() { run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return u
}

const unscheduledPod = `
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 30
  containers: [{name: web, image: "minikubelet.dev/web:1"}]
`

func TestUpstream_AdoptsTheNodeAndSetsRightWhatOthersChanged(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	admin := cp.Client()
	ctx := t.Context()
	labelled := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"of": "others", "zone": "b"}}}
	if _, err := admin.CoreV1().Nodes().Create(ctx, labelled, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	u := joinUpstream(t, e, cp.NodeKubeconfig("n1"), "n1")
	testbed.Eventually(t, 10*time.Second, "the node is Ready", func() error { return nodeReady(ctx, admin, "n1") })
	out, err := cp.Kubectl("get", "node", "n1", "-o", `jsonpath={.metadata.labels.of} {.metadata.labels.zone} {.status.daemonEndpoints.kubeletEndpoint.Port}`)
	if err != nil || out != "others a 10250" {
		t.Errorf("the adopted node: %q, %v", out, err)
	}
	testbed.Eventually(t, 5*time.Second, "the CSINode names the driver", func() error {
		out, err := cp.Kubectl("get", "csinode", "n1", "-o", "jsonpath={.spec.drivers[*].name} {.metadata.ownerReferences[0].kind}")
		if err != nil || out != "csi.test Node" {
			return fmt.Errorf("%q %w", out, err)
		}
		return nil
	})

	cp.Apply(fmt.Sprintf(unscheduledPod, "p1", "n1"))
	testbed.Eventually(t, 5*time.Second, "the pod arrives", func() error {
		if u.pod("p1") == nil {
			return errors.New("not seen")
		}
		return nil
	})
	u.writer.Report(u.pod("p1"), runningStatus("10.1.2.3"))
	ip := func() error {
		out, err := cp.Kubectl("get", "pod", "p1", "-o", "jsonpath={.status.podIP} {.status.message}")
		if err != nil || out != "10.1.2.3 " {
			return fmt.Errorf("%q %w", out, err)
		}
		return nil
	}
	testbed.Eventually(t, 5*time.Second, "the status is written", ip)
	if _, err := cp.Kubectl("patch", "pod", "p1", "--subresource=status", "-p", `{"status":{"message":"vandal"}}`); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 5*time.Second, "the status is set right", ip)
	if _, err := cp.Kubectl("patch", "node", "n1", "--subresource=status", "-p", `{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 5*time.Second, "the node is Ready again", func() error { return nodeReady(ctx, admin, "n1") })
}

func TestUpstream_NodeComesBackWhenItWasDeleted(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	admin := cp.Client()
	u := joinUpstream(t, e, cp.NodeKubeconfig("n1"), "n1")
	ctx := t.Context()
	testbed.Eventually(t, 10*time.Second, "the node is Ready", func() error { return nodeReady(ctx, admin, "n1") })
	first := u.node.Node().UID
	if err := admin.CoreV1().Nodes().Delete(ctx, "n1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 10*time.Second, "another Node has its name", func() error {
		n, err := admin.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if n.UID == first {
			return errors.New("the Node is still the first")
		}
		return nil
	})
}

func TestUpstream_LeavesASuccessorOfTheSameNameAlone(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	u := joinUpstream(t, e, cp.NodeKubeconfig("n1"), "n1")
	seen := func(not types.UID) func() error {
		return func() error {
			if p := u.pod("p1"); p == nil || p.UID == not {
				return errors.New("not seen")
			}
			return nil
		}
	}
	testbed.Eventually(t, 10*time.Second, "the node is Ready", func() error { return nodeReady(t.Context(), cp.Client(), "n1") })
	cp.Apply(fmt.Sprintf(unscheduledPod, "p1", "n1"))
	testbed.Eventually(t, 5*time.Second, "the pod arrives", seen(""))
	first := u.pod("p1")
	if _, err := cp.Kubectl("delete", "pod", "p1", "--force", "--grace-period=0"); err != nil {
		t.Fatal(err)
	}
	cp.Apply(fmt.Sprintf(unscheduledPod, "p1", "n1"))
	testbed.Eventually(t, 5*time.Second, "its successor arrives", seen(first.UID))

	doomed := first.DeepCopy()
	doomed.DeletionTimestamp = new(metav1.Now())
	u.writer.Report(doomed, v1.PodStatus{Phase: v1.PodFailed, Message: "of the first"})
	u.writer.Finished(doomed)
	u.writer.Report(u.pod("p1"), runningStatus("10.1.2.3"))
	testbed.Eventually(t, 5*time.Second, "the successor runs", func() error {
		out, err := cp.Kubectl("get", "pod", "p1", "-o", "jsonpath={.status.phase}{.status.message}")
		if err != nil || out != "Running" {
			return fmt.Errorf("%q %w", out, err)
		}
		return nil
	})
}

func nodeReady(ctx context.Context, admin kubernetes.Interface, name string) error {
	n, err := admin.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(n.Status.Conditions) == 0 {
		return errors.New("it has no conditions")
	}
	last := n.Status.Conditions[len(n.Status.Conditions)-1]
	if last.Type != v1.NodeReady || last.Status != v1.ConditionTrue || n.Labels["zone"] != "a" || n.Labels[v1.LabelHostname] != name {
		return fmt.Errorf("conditions %v, labels %v", n.Status.Conditions, n.Labels)
	}
	l, err := admin.CoordinationV1().Leases("kube-node-lease").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if l.Spec.RenewTime == nil || *l.Spec.LeaseDurationSeconds != 40 || *l.Spec.HolderIdentity != name {
		return fmt.Errorf("lease %s", strings.TrimSpace(l.Spec.String()))
	}
	return nil
}

func runningStatus(ip string) v1.PodStatus {
	ready := v1.ConditionTrue
	now := metav1.Now()
	return v1.PodStatus{
		Phase: v1.PodRunning, PodIP: ip, PodIPs: []v1.PodIP{{IP: ip}}, StartTime: &now,
		Conditions: []v1.PodCondition{
			{Type: v1.PodInitialized, Status: ready}, {Type: v1.PodReady, Status: ready}, {Type: v1.ContainersReady, Status: ready},
		},
		ContainerStatuses: []v1.ContainerStatus{{
			Name: "web", Ready: true, Started: new(true), Image: "minikubelet.dev/web:1", ContainerID: "containerd://c1",
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: now}},
		}},
	}
}
