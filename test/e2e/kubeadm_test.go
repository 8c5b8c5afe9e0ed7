package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// kubeadmUnit and kubeadmDropIn are what Kubernetes' own packages install, word for word but for the comments.
const (
	kubeadmUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`
	kubeadmDropIn = `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`
)

// kubeadmIgnored are the checks that this machine fails, whatever the kubelet is: its cgroups are version 1.
const kubeadmIgnored = "--ignore-preflight-errors=SystemVerification"

const kubeadmInit = `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: %s}
bootstrapTokens: [{token: abcdef.0123456789abcdef}]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking: {podSubnet: 10.244.0.0/16}
etcd: {local: {extraArgs: [{name: unsafe-no-fsync, value: "true"}]}}
proxy: {disabled: true}
dns: {disabled: true}
`

// systemdCgroups is the one change to Debian's configuration of containerd, as kubeadm's documentation asks for it.
const systemdCgroups = `
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
`

// kubeadmNode is a machine on which the agent is installed as the kubelet.
type kubeadmNode struct {
	*testbed.SystemdNode
	t    *testing.T
	node string // its name in the cluster
}

func prepareKubeadm(t *testing.T, e *testbed.Env, name string, last int, images ...ociarchive.Image) kubeadmNode {
	t.Helper()
	n := kubeadmNode{e.NetworkedNode(name, last), t, name}
	n.Install(testbed.AgentBinary(t), "/usr/bin/kubelet", 0o755)
	n.Install(testbed.Tool(t, "kubeadm"), "/usr/bin/kubeadm", 0o755)
	n.Write("/usr/lib/systemd/system/kubelet.service", kubeadmUnit, 0o644)
	n.Write("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", kubeadmDropIn, 0o644)
	n.Write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--node-ip="+n.IP+" --node-labels=example.com/machine="+name+" --config-dir=/etc/kubernetes/kubelet.d\n", 0o644)
	n.Write("/etc/kubernetes/kubelet.d/10-own.conf", "apiVersion: minikubelet.dev/v1alpha1\nkind: MinikubeletConfiguration\nautonomy: static-only\n", 0o644)
	n.Write("/etc/hosts", "127.0.0.1 localhost\n"+n.IP+" "+name+"\n", 0o644)
	n.Must("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	n.Write("/etc/containerd/config.toml", n.Must("cat", "/etc/containerd/config.toml")+systemdCgroups, 0o644)
	n.Must("systemctl", "restart", "containerd")
	n.Must("systemctl", "enable", "--quiet", "--now", "kubelet")
	n.Install(e.ImageArchive(images...), "/root/images.tar", 0o600)
	n.Must("ctr", "--namespace=k8s.io", "images", "import", "/root/images.tar")
	return n
}

// run runs a program with none of the test's environment: kubeadm would write a proxy of it into the manifests.
func (n kubeadmNode) run(args ...string) string {
	n.t.Helper()
	return n.Must(append([]string{"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, args...)...)
}

// TestKubeadm_InitsAndJoinsWithTheAgentAsKubelet makes a cluster of two machines as the documentation of kubeadm says, with
// the agent where the kubelet would be. Its pods have the agent's own network, numbered by the Nodes' pod CIDRs.
func TestKubeadm_InitsAndJoinsWithTheAgentAsKubelet(t *testing.T) {
	e := testbed.New(t)
	c := &kubeadmCluster{t: t}
	c.first = prepareKubeadm(t, e, "first", 11, testbed.KubeadmImages(t, c.images())...)
	c.first.Write("/root/init.yaml", fmt.Sprintf(kubeadmInit, c.first.IP), 0o600)
	t.Log("kubeadm init: the control plane comes up as static pods")
	said := c.first.run("kubeadm", "init", "--config=/root/init.yaml", kubeadmIgnored)
	if !strings.Contains(said, "Your Kubernetes control-plane has initialized successfully!") {
		t.Errorf("kubeadm init says:\n%s", said)
	}
	c.ControlPlane = e.ControlPlaneOf(filepath.Join(c.first.Root, "etc/kubernetes/admin.conf"))
	cidrs := []string{c.isReady(c.first)}
	c.controlPlaneIsShown()
	c.clientCertificate(c.first)

	t.Log("kubeadm join")
	c.second = prepareKubeadm(t, e, "second", 12)
	c.second.node = "worker"
	join := append(strings.Fields(c.first.run("kubeadm", "token", "create", "--print-join-command")), "--node-name=worker", kubeadmIgnored)
	c.second.run(join...)
	if flags := c.second.Must("cat", "/var/lib/kubelet/kubeadm-flags.env"); !strings.Contains(flags, "--hostname-override=worker") {
		t.Errorf("kubeadm's flags: %s", flags)
	}
	cidrs = append(cidrs, c.isReady(c.second))
	c.clientCertificate(c.second)
	if out := c.kubectl("get", "csr", "-o", "jsonpath={.items[*].spec.username} {.items[*].status.conditions[*].type}"); !strings.HasPrefix(out, "system:bootstrap:") || !strings.HasSuffix(out, " Approved") {
		t.Errorf("the signing requests: %s", out)
	}

	t.Log("pods of both machines reach each other")
	c.podsAnswer(cidrs)

	t.Log("a network that is applied later takes over")
	c.networkComes(cidrs[1])

	t.Log("kubeadm reset, and the second machine joins again")
	c.kubectl("drain", "worker", "--force", "--grace-period=1")
	c.second.run("kubeadm", "reset", "--force")
	c.kubectl("delete", "node", "worker")
	c.nothingLeft()
	c.second.run(join...)
	c.isReady(c.second)
}

type kubeadmCluster struct {
	*testbed.ControlPlane
	t             *testing.T
	first, second kubeadmNode
}

// images are those that kubeadm asks for, but for the addons that this cluster does without.
func (c *kubeadmCluster) images() []string {
	c.t.Helper()
	out, err := testbed.Run(c.t.Context(), "", testbed.Tool(c.t, "kubeadm"), "config", "images", "list", "--kubernetes-version=v1.36.3")
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Fields(out), func(ref string) bool {
		return strings.Contains(ref, "/coredns") || strings.Contains(ref, "/kube-proxy")
	})
}

// kubectl runs kubectl, which must succeed.
func (c *kubeadmCluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// isReady waits until a node is Ready and its pod network has the Node's pod CIDR, which it returns.
func (c *kubeadmCluster) isReady(n kubeadmNode) string {
	c.t.Helper()
	cidr := ""
	testbed.Eventually(c.t, 60*time.Second, n.Name+" is Ready", func() error {
		out, err := c.Kubectl("get", "node", n.node, "-o", `jsonpath={.spec.podCIDR} {.status.conditions[?(@.type=="Ready")].status} {.status.nodeInfo.kubeletVersion}`)
		if err == nil && (!strings.HasPrefix(out, "10.244.") || !strings.Contains(out, " True v1.36.3")) {
			err = errors.New(out)
		}
		cidr, _, _ = strings.Cut(out, " ")
		return err
	})
	testbed.Eventually(c.t, 10*time.Second, n.Name+"'s network has the pod CIDR "+cidr, func() error {
		_, err := n.Run("grep", "-q", cidr, "/var/lib/kubelet/cni/network.conflist")
		return err
	})
	return cidr
}

// controlPlaneIsShown waits for the mirror pods of the control plane, which are ready by their probes.
func (c *kubeadmCluster) controlPlaneIsShown() {
	c.t.Helper()
	const path = `jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].ready} {.metadata.ownerReferences[*].kind} {.spec.priorityClassName}{"\n"}{end}`
	want := ""
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		want += name + "-first true Node system-node-critical\n"
	}
	testbed.Eventually(c.t, 60*time.Second, "the control plane's pods are ready", func() error {
		out, err := c.Kubectl("get", "pods", "--namespace=kube-system", "--sort-by=.metadata.name", "-o", path)
		if err == nil && out != want {
			err = errors.New(out)
		}
		return err
	})
}

// clientCertificate checks that a node speaks with a certificate of its own, which it renews.
func (c *kubeadmCluster) clientCertificate(n kubeadmNode) {
	c.t.Helper()
	const current = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	n.Must("grep", "-q", "client-certificate: "+current, "/etc/kubernetes/kubelet.conf")
	b, _ := pem.Decode([]byte(n.Must("cat", current)))
	if b == nil {
		c.t.Fatalf("%s holds no certificate", current)
	}
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil || cert.Subject.CommonName != "system:node:"+n.node || !slices.Equal(cert.Subject.Organization, []string{"system:nodes"}) {
		c.t.Errorf("the certificate of %s: %v, %v", n.node, cert.Subject, err)
	}
}

// podsAnswer runs a pod on each machine. Routes between the pod networks are for whoever owns the machines' network.
func (c *kubeadmCluster) podsAnswer(cidrs []string) {
	c.t.Helper()
	c.first.Must("ip", "route", "add", cidrs[1], "via", c.second.IP)
	c.second.Must("ip", "route", "add", cidrs[0], "via", c.first.IP)
	c.Apply(fmt.Sprintf(kubeadmPod, "client", "first") + fmt.Sprintf(kubeadmPod, "server", "second"))
	c.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/client", "pod/server")
	ips := strings.Fields(c.kubectl("get", "pods", "client", "server", "-o", "jsonpath={.items[*].status.podIP}"))
	for i, cidr := range cidrs {
		if ip, err := netip.ParseAddr(ips[i]); err != nil || !netip.MustParsePrefix(cidr).Contains(ip) {
			c.t.Fatalf("the pods of the networks %v have the addresses %v", cidrs, ips)
		}
	}
	c.kubectl("exec", "client", "--", "/web", "get", "http://"+ips[1]+":8080/")
	if out := c.kubectl("logs", "server"); !strings.Contains(out, "GET / from ") {
		c.t.Errorf("the server's log: %s", out)
	}
}

// networkComes does on the second machine what the DaemonSet of a network does: it puts down a configuration, for the
// same addresses. The pod that runs there already moves to it.
func (c *kubeadmCluster) networkComes(cidr string) {
	c.t.Helper()
	c.second.Write("/etc/cni/net.d/10-cluster.conflist", fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "cluster", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}`, cidr), 0o644)
	testbed.Eventually(c.t, 60*time.Second, "the pod answers on the new network", func() error {
		if left, err := c.second.Run("test", "!", "-e", "/sys/class/net/minikubelet0"); err != nil {
			return fmt.Errorf("the agent's bridge is still there: %s %w", left, err)
		}
		ip, err := c.Kubectl("get", "pod", "server", "-o", `jsonpath={.status.podIP}`)
		if err == nil {
			_, err = c.Kubectl("exec", "client", "--", "/web", "get", "http://"+ip+":8080/")
		}
		return err
	})
}

const kubeadmPod = `---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeSelector: {example.com/machine: %s}
  tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "` + testbed.WebImage + `", imagePullPolicy: Never}]
`

// nothingLeft checks the second machine after kubeadm's reset, and the agent's own command for what kubeadm does not know of.
func (c *kubeadmCluster) nothingLeft() {
	c.t.Helper()
	n := c.second
	n.Must("rm", "/etc/cni/net.d/10-cluster.conflist") // as kubeadm reset asks for
	n.Must("ip", "link", "delete", "cni0")
	n.run("kubelet", "uninstall", "--purge")
	for what, cmd := range map[string]string{
		"kubelet":      "systemctl is-active kubelet | grep -v inactive",
		"files":        "find /var/lib/kubelet /etc/kubernetes/*.conf /etc/kubernetes/pki /etc/kubernetes/manifests /etc/cni/net.d /run/minikubelet -type f",
		"mounts":       "grep /var/lib/kubelet/ /proc/mounts",
		"containers":   "ctr --namespace=k8s.io containers list --quiet",
		"namespaces":   "ls /run/netns",
		"bridges":      "ls /sys/class/net | grep -v -e lo -e host0",
		"port rules":   "iptables-save | grep -i -e cni -e minikubelet",
		"plugin":       "ls /usr/lib/cni | grep minikubelet",
		"pods' groups": "find /sys/fs/cgroup -type d -name 'kubepods*-pod*.slice'",
	} {
		if left := strings.TrimSpace(n.Must("sh", "-c", "{ "+cmd+"; } 2>/dev/null || true")); left != "" {
			c.t.Errorf("%s are left: %s", what, left)
		}
	}
}
