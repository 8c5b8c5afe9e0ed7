package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// cluster is a control plane with two nodes, each with a runtime, an agent and a kube-proxy of its own, and with DNS.
type cluster struct {
	*joined // its agent, runtime and env are those of node-a
	nodes   []*machine
}

// machine is one node with what runs on it.
type machine struct {
	name  string
	env   *testbed.Env
	cd    *testbed.Containerd
	agent *testbed.Agent
	mode  string // of its kube-proxy
	proxy *testbed.Process
}

// TestCluster is one cluster's life. Its parts build on each other: every one leaves the shop behind as it found it.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, part := range []struct {
		name string
		run  func(*cluster)
	}{
		{"a Service is reached by its name from the other node", (*cluster).chain},
		{"an update fails no request", (*cluster).rollout},
		{"every kind of workload runs", (*cluster).workloads},
		{"a node is drained", (*cluster).drain},
		{"a node is restarted, removed and joined again", (*cluster).comesAndGoes},
		{"the API server is away for two minutes", (*cluster).outage},
		{"deletion leaves nothing", (*cluster).deletion},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(c.in(t)) }) {
			break
		}
	}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	e := testbed.New(t)
	c := &cluster{joined: &joined{t: t, env: e, ControlPlane: e.ControlPlane()}}
	c.admin = c.Client()
	for _, m := range []*machine{{name: "node-a", mode: "nftables"}, {name: "node-b", mode: "iptables"}} {
		m.env = e.NodeEnv(m.name)
		m.cd = m.env.Containerd(testbed.ContainerdConfig{NoImages: true})
		m.cd.Import(testbed.CoreDNSImage(t))
		shown := c.CA.Issue(m.name+"-serving", testbed.Cert{Name: "system:node:" + m.name, Hosts: []string{m.env.NodeIP()}})
		m.agent = m.env.Agent(testbed.AgentConfig{
			Containerd: m.cd, ControlPlane: c.ControlPlane, NodeName: m.name,
			Kubelet: c.settings(map[string]any{
				"clusterDNS": []string{e.DNSIP()}, "clusterDomain": "cluster.local", "tlsCertFile": shown.CertFile, "tlsPrivateKeyFile": shown.KeyFile,
			}),
		})
		c.startProxy(m)
		c.nodes = append(c.nodes, m)
	}
	c.agent, c.cd = c.nodes[0].agent, c.nodes[0].cd
	c.ApplyDNS()
	c.cd.Import(testbed.MetricsServerImage(t))
	c.ApplyMetricsServer(c.nodes[0].name)
	c.Apply(tick) // a minute goes by before it has anything to show, and half of one until metrics-server has
	for _, m := range c.nodes {
		c.waitNode(m.name)
	}
	c.kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=60s")
	return c
}

func (c *cluster) in(t *testing.T) *cluster {
	k := *c
	k.joined = c.joined.in(t)
	return &k
}

// startProxy starts a node's kube-proxy.
func (c *cluster) startProxy(m *machine) {
	c.t.Helper()
	m.proxy = m.env.KubeProxy(c.ControlPlane, m.name, m.mode)
}

// other is the node that is not the one of a name.
func (c *cluster) other(name string) *machine {
	if c.nodes[0].name == name {
		return c.nodes[1]
	}
	return c.nodes[0]
}

const shop = `
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: shop}}}
      containers:
      - name: web
        image: minikubelet.dev/web:1
        ports: [{name: http, containerPort: 8080}]
        env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 5}}}
`

// asking is a pod on a node that asks a URL again and again.
const asking = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  nodeName: %[2]s
  terminationGracePeriodSeconds: 2
  tolerations: [{operator: Exists}]
  containers: [{name: web, image: "minikubelet.dev/web:1", args: [ask, %[3]q]}]
`

// chain goes from kubectl apply to an answer on the other node.
func (c *cluster) chain() {
	c.Apply(shop)
	p := c.shop(1)[0]
	far := c.other(p.Spec.NodeName)
	c.Apply(fmt.Sprintf(asking, "client", far.name, "http://shop/"))
	c.waitReady("client")
	ip := c.kubectl("get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
	for _, url := range []string{"http://shop/", "http://shop.default/", "http://shop.default.svc.cluster.local/", "http://" + ip + "/"} {
		c.answers("client", url, "hello from "+p.Name)
	}
	c.waitAsked("client", 5)
	c.kubectl("delete", "pod", "client", "--timeout=30s")
}

// proxied is how long kube-proxy and CoreDNS may take to learn of a change: after an outage they ask again at their own
// back-off, which has grown to half a minute.
const proxied = 2 * time.Minute

// answers asks a URL from inside a pod until the answer holds a text.
func (c *cluster) answers(pod, url, want string) {
	c.t.Helper()
	testbed.Eventually(c.t, proxied, pod+" reads "+url, func() error {
		out, err := c.Kubectl("exec", pod, "--", "/web", "get", url)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%q instead of %q", out, want)
		}
		return err
	})
}

// shop waits until the shop has n pods, all Ready and endpoints of its Service, and no others.
func (c *cluster) shop(n int) []v1.Pod {
	c.t.Helper()
	return c.waitShop(n)
}

// asked is what a client pod tells of its requests.
func (c *cluster) asked(pod string) (answered, failed int, err error) {
	log, err := c.Kubectl("logs", pod)
	if err != nil {
		return 0, 0, err
	}
	err = errors.New("nothing asked yet")
	for line := range strings.Lines(log) {
		if _, sums, ok := strings.Cut(line, " answered "); ok {
			_, err = fmt.Sscanf(sums, "%d failed %d", &answered, &failed)
		}
	}
	return answered, failed, err
}

// waitAsked waits until a client has had so many more answers.
func (c *cluster) waitAsked(pod string, more int) {
	c.t.Helper()
	first, _, _ := c.asked(pod)
	c.eventually(pod+" has answers", func() error {
		now, _, err := c.asked(pod)
		if err == nil && now < first+more {
			err = fmt.Errorf("%d answers, %d before", now, first)
		}
		return err
	})
}

// noneFailed fails the test when a client had a request that failed.
func (c *cluster) noneFailed(pod string) {
	c.t.Helper()
	c.waitAsked(pod, 1)
	answered, failed, err := c.asked(pod)
	if err != nil || failed > 0 {
		log, _ := c.Kubectl("logs", pod)
		c.t.Errorf("%s: %d requests answered, %d failed, %v\n%s", pod, answered, failed, err, failures(log))
		return
	}
	c.t.Logf("%s: %d requests answered, none failed", pod, answered)
}

func failures(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "failed after") && b.Len() < 4000 {
			b.WriteString(line)
		}
	}
	return b.String()
}

// rollout replaces every pod while a client on either node keeps asking.
func (c *cluster) rollout() {
	c.kubectl("scale", "deployment/shop", "--replicas=3")
	old := c.shop(3)
	c.startClients()
	c.kubectl("set", "env", "deployment/shop", "VERSION=2")
	c.kubectl("rollout", "status", "deployment/shop", "--timeout=120s")
	now := c.shop(3)
	c.eventually("the old pods are gone", func() error {
		for _, p := range old {
			if err := gone(c.Kubectl("get", "pod", p.Name, "--ignore-not-found", "-o", "name")); err != nil {
				return err
			}
		}
		return nil
	})
	for _, m := range c.nodes {
		c.noneFailed("client-" + m.name)
	}
	for _, p := range now {
		if slices.ContainsFunc(old, func(o v1.Pod) bool { return o.UID == p.UID }) {
			c.t.Errorf("%s is still the old one", p.Name)
		}
		if out, err := c.web(p.Status.PodIP, "/env?name=VERSION"); err != nil || out != "2" {
			c.t.Errorf("%s has version %q, %v", p.Name, out, err)
		}
	}
}

// startClients has a pod on each node ask the shop by name, and waits for the first answers.
func (c *cluster) startClients() {
	c.t.Helper()
	for _, m := range c.nodes {
		name := "client-" + m.name
		c.kubectl("delete", "pod", name, "--ignore-not-found", "--timeout=30s")
		c.Apply(fmt.Sprintf(asking, name, m.name, "http://shop/"))
	}
	for _, m := range c.nodes {
		c.waitAsked("client-"+m.name, 5)
	}
}

// deletion takes everything away, in the order that kubectl finds it in.
func (c *cluster) deletion() {
	c.kubectl("delete", "deployment,daemonset,statefulset,job,cronjob,service,pdb,pod", "--all", "--timeout=60s", "--cascade=foreground")
	c.kubectl("delete", "-n", "kube-system", "deployment/coredns", "service/kube-dns", "--cascade=foreground", "--timeout=60s")
	for _, m := range c.nodes {
		c.eventually("nothing is left on "+m.name, m.agent.NothingLeft)
	}
}

// onNode are the pods of all namespaces that a node has.
func (c *cluster) onNode(m *machine) map[string]*v1.Pod {
	c.t.Helper()
	list, err := c.admin.CoreV1().Pods("").List(c.t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + m.name})
	if err != nil {
		c.t.Fatal(err)
	}
	pods := map[string]*v1.Pod{}
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	return pods
}

// allReady waits until each of the named pods of a namespace is Ready, and calls check on it.
func (c *cluster) allReady(pods map[string]*v1.Pod, what string, check func(was, is *v1.Pod) error) {
	c.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		was := pods[name]
		c.eventually(name+" "+what, func() error {
			p, err := c.admin.CoreV1().Pods(was.Namespace).Get(c.t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := errors.Join(ready(p), check(was, p)); err != nil {
				return fmt.Errorf("%w: %s", err, describeStatus(p.Status))
			}
			return nil
		})
	}
}
