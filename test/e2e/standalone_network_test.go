package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const serving = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: $web
    env:
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    ports: [{containerPort: 8080, hostPort: %d}]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`

const onHost = `
metadata: {name: onhost}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: $web
    args: ["-addr=:%d"]
    readinessProbe: {httpGet: {path: /readyz, port: %[1]d, host: 127.0.0.1}, periodSeconds: 1}
`

// TestStandaloneNetwork reaches pods by their addresses and by ports of the node, on the network that the node has.
func TestStandaloneNetwork(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	ports := []int{s.env.Port(), s.env.Port()}
	s.WriteManifest("a.yaml", pods(fmt.Sprintf(serving, "a", ports[0]), fmt.Sprintf(onHost, ports[1])))
	s.WriteManifest("b.yaml", pods(fmt.Sprintf(serving, "b", 0)))
	a := s.networked(t, "a", netip.MustParsePrefix(s.env.PodCIDR()), ports[0])
	b := s.networked(t, "b", netip.MustParsePrefix(s.env.PodCIDR()), 0)
	if a.Status.PodIP == b.Status.PodIP {
		t.Errorf("two pods have the address %s", a.Status.PodIP)
	}
	if p := s.ready("onhost"); p.Status.PodIP != s.env.NodeIP() || p.Status.HostIP != s.env.NodeIP() {
		t.Errorf("a pod on the node's network has the addresses %s and %s, want %s", p.Status.PodIP, p.Status.HostIP, s.env.NodeIP())
	}
	s.gone("a.yaml", string(b.UID))
	if err := s.netless(a.Status.PodIP, ports[0]); err != nil {
		t.Error(err)
	}
	if _, err := get("http://" + b.Status.PodIP + ":8080/"); err != nil {
		t.Errorf("the other pod: %v", err)
	}
	s.gone("b.yaml")
}

// networked waits for a pod and checks its address, what it knows of itself, and the port of the node.
func (s *standalone) networked(t *testing.T, name string, in netip.Prefix, hostPort int) *v1.Pod {
	t.Helper()
	p := s.ready(name)
	ip, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil || !in.Contains(ip) || len(p.Status.PodIPs) == 0 || p.Status.PodIPs[0].IP != p.Status.PodIP || p.Status.HostIP != s.env.NodeIP() {
		t.Errorf("pod %s has the addresses %q, %v on %q, want one in %s", name, p.Status.PodIP, p.Status.PodIPs, p.Status.HostIP, in)
	}
	if err := isCondition(p, v1.PodReadyToStartContainers, v1.ConditionTrue); err != nil {
		t.Errorf("pod %s: %v", name, err)
	}
	targets := []string{p.Status.PodIP + ":8080"}
	if hostPort != 0 {
		targets = append(targets, fmt.Sprintf("%s:%d", s.env.NodeIP(), hostPort))
	}
	for _, target := range targets {
		for path, want := range map[string]string{"/": "hello from " + p.Name + " on " + p.Name + " " + p.Status.PodIP, "/env?name=POD_IP": p.Status.PodIP} {
			if got, err := get("http://" + target + path); err != nil || !strings.HasPrefix(got, want) {
				t.Errorf("%s%s answers %q, %v; want %q", target, path, got, err, want)
			}
		}
	}
	return p
}

// netless checks that neither an address nor a port of the node leads to a pod.
func (s *standalone) netless(ip string, hostPort int) error {
	for _, target := range []string{ip + ":8080", fmt.Sprintf("%s:%d", s.env.NodeIP(), hostPort)} {
		if got, err := get("http://" + target + "/"); err == nil {
			return errors.New(target + " still answers: " + got)
		}
	}
	return nil
}

// TestStandaloneBridge runs on a node where no network is configured: the agent provides one.
func TestStandaloneBridge(t *testing.T) {
	s := newStandalone(t, testbed.ContainerdConfig{NoNetwork: true}, testbed.AgentConfig{NotYet: true})
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("minikubelet0"); err == nil {
			_ = netlink.LinkDel(link)
		}
	})
	cidr := fmt.Sprintf("10.243.%d.0/24", s.env.N)
	s.Agent = s.env.Agent(testbed.AgentConfig{Containerd: s.cd, Kubelet: map[string]any{"podCIDR": cidr}, Own: map[string]any{
		"network": map[string]any{"provider": "auto", "confDir": s.cd.ConfDir, "binDir": s.cd.BinDir},
	}})
	port := s.env.Port()
	s.WriteManifest("own.yaml", pods(fmt.Sprintf(serving, "own", port)))
	s.nodeReady()
	p := s.networked(t, "own", netip.MustParsePrefix(cidr), port)
	s.gone("own.yaml")
	if err := s.netless(p.Status.PodIP, port); err != nil {
		t.Error(err)
	}
}
