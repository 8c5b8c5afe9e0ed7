package e2e_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const tolerantPod = `
apiVersion: v1
kind: Pod
metadata: {name: tolerant}
spec:
  terminationGracePeriodSeconds: 0
  tolerations: [{key: example.com/dedicated, operator: Exists}]
  containers: [{name: web, image: "minikubelet.dev/web:1", imagePullPolicy: Never}]
`

// A node in a cloud registers as its flags and configuration say and takes pods once the cloud's controller, whose part the
// test plays, has initialized it. Then the certificates of its HTTPS API are replaced.
func TestJoined_RegistersAsToldAndTakesUpNewCertificates(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	j := &joined{t: t, env: e, ControlPlane: e.ControlPlane(), cd: e.Containerd(testbed.ContainerdConfig{})}
	j.admin = j.Client()
	j.Apply(tolerantPod)
	served := testbed.Cert{Name: "system:node:cloudy", Groups: []string{"system:nodes"}, Hosts: []string{e.NodeIP()}}
	serving := j.CA.Issue("serving", served)
	clients := e.WriteFile(read(t, j.CA.CertFile), "clients.crt")
	j.agent = e.Agent(testbed.AgentConfig{
		Containerd: j.cd, ControlPlane: j.ControlPlane, NodeName: "cloudy",
		Args: []string{"--cloud-provider=external", "--register-schedulable=false", "--node-labels=example.com/rack=7"},
		Kubelet: map[string]any{
			"providerID": "test://7", "registerWithTaints": []v1.Taint{{Key: "example.com/dedicated", Value: "yes", Effect: v1.TaintEffectNoSchedule}},
			"tlsCertFile": serving.CertFile, "tlsPrivateKeyFile": serving.KeyFile,
			"authentication": map[string]any{"x509": map[string]any{"clientCAFile": clients}, "webhook": map[string]any{"enabled": false}},
		},
	})
	j.isRegisteredAsTold()
	j.isInitializedByTheCloud()
	j.takesUpCertificates(served, clients)
}

func (j *joined) isRegisteredAsTold() {
	j.t.Helper()
	j.eventually("the node is Ready", func() error {
		n, err := j.admin.CoreV1().Nodes().Get(j.t.Context(), "cloudy", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return isTrue(n.Status.Conditions, func(c v1.NodeCondition) (string, string) { return string(c.Type), string(c.Status) }, "Ready")
	})
	n := j.node()
	told := map[string]string{
		"label": n.Labels["example.com/rack"], "provider": n.Spec.ProviderID, "given": n.Annotations["alpha.kubernetes.io/provided-node-ip"],
		"unschedulable": fmt.Sprint(n.Spec.Unschedulable), "addresses": fmt.Sprint(n.Status.Addresses),
	}
	for _, taint := range n.Spec.Taints {
		told[taint.Key] = string(taint.Value + ":" + string(taint.Effect))
	}
	delete(told, v1.TaintNodeNotReady) // others' to add and to take away
	want := map[string]string{
		"label": "7", "provider": "test://7", "given": j.env.NodeIP(), "unschedulable": "true",
		"addresses":             fmt.Sprintf("[{InternalIP %s} {Hostname cloudy}]", j.env.NodeIP()),
		"example.com/dedicated": "yes:NoSchedule", v1.TaintNodeUnschedulable: ":NoSchedule",
		"node.cloudprovider.kubernetes.io/uninitialized": "true:NoSchedule",
	}
	if d := cmp.Diff(want, told); d != "" {
		j.t.Errorf("the node is not as it was told (-want +got):\n%s", d)
	}
}

func (j *joined) isInitializedByTheCloud() {
	j.t.Helper()
	j.kubectl("uncordon", "cloudy")
	j.waitPod("tolerant", "waits for the cloud", func(p *v1.Pod) error {
		var says string
		for _, c := range p.Status.Conditions {
			if says = c.Message; c.Type == v1.PodScheduled && strings.Contains(says, "untolerated taint") {
				return nil
			}
		}
		return errors.New("it does not: " + says)
	})
	n := j.node()
	n.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeExternalIP, Address: "203.0.113.7"}, {Type: v1.NodeInternalIP, Address: j.env.NodeIP()}, {Type: v1.NodeInternalDNS, Address: "cloudy.internal"}}
	want := n.Status.Addresses
	if _, err := j.admin.CoreV1().Nodes().UpdateStatus(j.t.Context(), n, metav1.UpdateOptions{}); err != nil {
		j.t.Fatal(err)
	}
	j.kubectl("taint", "node", "cloudy", "node.cloudprovider.kubernetes.io/uninitialized-")
	if p := j.waitReady("tolerant"); p.Status.HostIP != j.env.NodeIP() {
		j.t.Errorf("host IP %q", p.Status.HostIP)
	}
	// Another report of the agent leaves the cloud's addresses alone.
	heartbeat := func(n *v1.Node) time.Time { return n.Status.Conditions[0].LastHeartbeatTime.Time }
	before := heartbeat(j.node())
	j.agent.Restart()
	j.eventually("the node is reported again", func() error {
		n := j.node()
		if !heartbeat(n).After(before) {
			return errors.New("not since " + before.String())
		}
		if d := cmp.Diff(want, n.Status.Addresses); d != "" {
			j.t.Fatalf("addresses (-want +got):\n%s", d)
		}
		return nil
	})
}

// takesUpCertificates replaces the serving certificate, and then the file of the authorities whose clients may ask.
func (j *joined) takesUpCertificates(served testbed.Cert, clients string) {
	j.t.Helper()
	address := fmt.Sprintf("%s:%d", j.env.NodeIP(), j.agent.Port)
	other := j.env.NewCA("other")
	stranger := other.Issue("stranger", testbed.Cert{Name: "stranger"})
	pair, err := tls.LoadX509KeyPair(stranger.CertFile, stranger.KeyFile)
	if err != nil {
		j.t.Fatal(err)
	}
	// Each request is a connection of its own.
	shown := ""
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{pair},
		VerifyConnection: func(s tls.ConnectionState) error {
			shown = s.PeerCertificates[0].SerialNumber.String()
			return nil
		},
	}}}
	ask := func() error {
		r, err := client.Get("https://" + address + "/pods")
		if err != nil {
			return err
		}
		if r.Body.Close(); r.StatusCode != http.StatusOK {
			return errors.New(r.Status)
		}
		return nil
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		j.t.Fatalf("a stranger gets %v", err)
	}
	old := shown
	j.CA.Issue("serving", served)
	if err := os.WriteFile(clients, []byte(read(j.t, j.CA.CertFile)+read(j.t, other.CertFile)), 0o600); err != nil {
		j.t.Fatal(err)
	}
	j.eventually("the new certificate is served and the new authority is heard", func() error {
		err := ask()
		if shown == old {
			err = errors.Join(err, errors.New("the certificate is still "+old))
		}
		return err
	})
	testbed.Eventually(j.t, 10*time.Second, "the API server still gets logs", func() error {
		_, err := j.Kubectl("logs", "tolerant")
		return err
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
