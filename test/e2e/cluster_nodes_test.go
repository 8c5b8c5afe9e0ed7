package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// drain finds that a budget holds, then empties node-b as far as it allows it, while clients keep asking, and lets it in again.
func (c *cluster) drain() {
	b := c.nodes[1]
	c.kubectl("scale", "deployment/shop", "--replicas=2")
	has := c.shop(2)[0].Spec.NodeName // both may be there: of six pods, any two are left
	c.kubectl("create", "pdb", "shop", "--selector=app=shop", "--min-available=2")
	c.startClients()
	if _, err := c.Kubectl("drain", has, "--ignore-daemonsets", "--force", "--pod-selector=app=shop", "--timeout=3s"); err == nil || !strings.Contains(err.Error(), "disruption budget") {
		c.t.Errorf("drain against the budget: %v", err)
	}
	c.kubectl("uncordon", has)
	c.kubectl("scale", "deployment/shop", "--replicas=3")
	c.shop(3)
	c.kubectl("drain", b.name, "--ignore-daemonsets", "--pod-selector=app in (shop)", "--timeout=60s")
	for _, p := range c.shop(3) {
		if p.Spec.NodeName == b.name {
			c.t.Errorf("%s is on the node that was drained", p.Name)
		}
	}
	c.noneFailed("client-node-a")
	c.noneFailed("client-node-b")
	c.kubectl("drain", b.name, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=60s")
	for name, p := range c.onNode(b) {
		if len(p.OwnerReferences) == 0 || p.OwnerReferences[0].Kind != "DaemonSet" {
			c.t.Errorf("drain left %s", name)
		}
	}
	c.kubectl("uncordon", b.name)
	c.kubectl("delete", "pdb", "shop")
	c.kubectl("rollout", "restart", "deployment/shop", "-n", "default")
	c.kubectl("rollout", "restart", "deployment/coredns", "-n", "kube-system")
	c.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
	c.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")
	back := 0
	for _, p := range c.shop(3) {
		if p.Spec.NodeName == b.name {
			back++
		}
	}
	if back == 0 {
		c.t.Error("no pod came to the node after uncordon")
	}
}

// comesAndGoes kills the agent of node-b, then cuts its power, then deletes its Node with the agent running and with the
// agent away.
func (c *cluster) comesAndGoes() {
	b := c.nodes[1]
	pods := c.onNode(b)
	if len(pods) < 3 {
		c.t.Fatalf("%s has only %d pods", b.name, len(pods))
	}
	c.startClients()
	flips := c.watchReady(b)
	b.agent.Kill()
	b.agent.Start()
	c.waitAsked("client-node-b", 20)
	c.allReady(pods, "is as it was", same)
	if err := flips(); err != nil {
		c.t.Errorf("over the agent's restart: %v", err)
	}
	c.noneFailed("client-node-a")

	c.reboot(b)
	c.allReady(pods, "is back", restartedOnce)
	c.answers("client-node-a", "http://shop/", "hello from shop-")
	c.waitAsked("client-node-b", 20)

	before := c.nodeUID(b)
	pods = c.onNode(b)
	c.kubectl("delete", "node", b.name)
	c.waitNode(b.name)
	if c.nodeUID(b) == before {
		c.t.Error("the Node is still the old one")
	}
	c.allReady(pods, "survives the Node", same)

	b.agent.Kill()
	c.kubectl("delete", "node", b.name)
	c.kubectl("delete", "pod", "-A", "--field-selector=spec.nodeName="+b.name, "--force", "--grace-period=0")
	for _, p := range c.shop(3) {
		if p.Spec.NodeName == b.name {
			c.t.Errorf("%s is on a node that does not exist", p.Name)
		}
	}
	b.agent.Start()
	c.waitNode(b.name)
	c.eventually("the DaemonSet's pod is on the node, and what it had before is gone", func() error {
		var uids []string
		for _, p := range c.onNode(b) {
			uids = append(uids, string(p.UID))
		}
		if len(uids) == 0 {
			return errors.New("no pod is on it")
		}
		return b.agent.LeftBeside(uids...)
	})
	c.kubectl("rollout", "restart", "deployment/coredns", "-n", "kube-system")
	c.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")
}

// reboot cuts a node's power and starts what a node's boot starts.
func (c *cluster) reboot(m *machine) {
	c.t.Helper()
	m.agent.Kill()
	m.proxy.Kill()
	m.cd.PowerOff()
	m.cd.Start()
	c.startProxy(m)
	m.agent.Start()
}

func (c *cluster) nodeUID(m *machine) string {
	c.t.Helper()
	return c.kubectl("get", "node", m.name, "-o", "jsonpath={.metadata.uid}")
}

// same fails unless a pod's containers are those that it had.
func same(was, is *v1.Pod) error {
	if was.UID != is.UID || is.Status.PodIP != was.Status.PodIP {
		return errors.New("it is another pod")
	}
	for i, s := range is.Status.ContainerStatuses {
		if old := was.Status.ContainerStatuses[i]; s.ContainerID != old.ContainerID || s.RestartCount != old.RestartCount {
			return fmt.Errorf("container %s is another one", s.Name)
		}
	}
	return nil
}

func restartedOnce(was, is *v1.Pod) error {
	if was.UID != is.UID {
		return errors.New("it is another pod")
	}
	for i, s := range is.Status.ContainerStatuses {
		if old := was.Status.ContainerStatuses[i]; s.ContainerID == old.ContainerID || s.RestartCount != old.RestartCount+1 {
			return fmt.Errorf("container %s was restarted %d times, %d before", s.Name, s.RestartCount, old.RestartCount)
		}
	}
	return nil
}

// watchReady watches the pods of a node. The function that it returns ends that and tells which lost their readiness.
func (c *cluster) watchReady(m *machine) func() error {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	w, err := c.admin.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + m.name})
	if err != nil {
		c.t.Fatal(err)
	}
	lost := make(chan map[string]string, 1)
	go func() {
		seen := map[string]string{}
		for e := range w.ResultChan() {
			p, ok := e.Object.(*v1.Pod)
			if ok && e.Type != watch.Deleted && ready(p) != nil {
				seen[p.Name] = describeStatus(p.Status)
			}
		}
		lost <- seen
	}()
	return func() error {
		cancel()
		if l := <-lost; len(l) > 0 {
			return fmt.Errorf("not Ready for a while: %v", l)
		}
		return nil
	}
}
