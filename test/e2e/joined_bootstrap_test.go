package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// bootstrapping is what kubeadm sets up for nodes that join: a token, and whose requests are approved by themselves.
const bootstrapping = `
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData: {token-id: abcdef, token-secret: 0123456789abcdef, usage-bootstrap-authentication: "true"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-bootstrap}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node-bootstrapper"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:bootstrappers"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-approve}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:bootstrappers"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-renew}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:nodes"}]
`

func bootstrapKubeconfig(cp *testbed.ControlPlane, token string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"+
		"clusters: [{name: k, cluster: {server: %q, certificate-authority: %q}}]\nusers: [{name: u, user: {token: %q}}]\n", cp.URL, cp.CA.CertFile, token)
}

// A node with no more than a bootstrap token becomes a node of the cluster, with a client certificate that it renews and
// a serving certificate that the cluster signs.
func TestJoined_BootstrapsAndRenewsItsCertificates(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	admin := cp.Client()
	cp.Apply(bootstrapping)
	kubeconfig := e.Path("joined", "kubelet.conf")
	bootstrap := e.WriteFile(bootstrapKubeconfig(cp, "abcdef.fedcba9876543210"), "bootstrap.conf")
	a := e.Agent(testbed.AgentConfig{
		Containerd: e.Containerd(testbed.ContainerdConfig{}), NotYet: true,
		Args: []string{"--kubeconfig=" + kubeconfig, "--bootstrap-kubeconfig=" + bootstrap, "--rotate-certificates"},
		Kubelet: map[string]any{
			"serverTLSBootstrap": true,
			"authentication": map[string]any{
				"x509": map[string]any{"clientCAFile": cp.CA.CertFile}, "webhook": map[string]any{"enabled": false}, "anonymous": map[string]any{"enabled": false},
			},
		},
	})
	a.Launch()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", a.Log())
		}
	})
	eventually := func(what string, f func() error) {
		t.Helper()
		testbed.Eventually(t, soon, what, f)
	}
	eventually("the agent tells that its token is no good", func() error {
		if !strings.Contains(a.Log(), "cannot get a client certificate yet") {
			return errors.New("nothing in the log")
		}
		return nil
	})
	e.WriteFile(bootstrapKubeconfig(cp, "abcdef.0123456789abcdef"), "bootstrap.conf")
	ready := func() error {
		n, err := admin.CoreV1().Nodes().Get(t.Context(), a.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return isTrue(n.Status.Conditions, func(c v1.NodeCondition) (string, string) { return string(c.Type), string(c.Status) }, "Ready")
	}
	eventually("the node has joined", ready)
	if info, err := os.Stat(kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig that was written: %v, %v; want mode 0600", info, err)
	}

	// The serving certificate is approved by a person, or by a program that knows the machines.
	eventually("the serving certificate is asked for and approved", func() error {
		list, err := admin.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, r := range list.Items {
			if r.Spec.SignerName == "kubernetes.io/kubelet-serving" {
				_, err := cp.Kubectl("certificate", "approve", r.Name)
				return err
			}
		}
		return fmt.Errorf("none of %d requests is for it", len(list.Items))
	})
	pem, err := os.ReadFile(cp.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	eventually("the HTTPS API shows the cluster's certificate", func() error {
		c, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", e.NodeIP(), a.Port), &tls.Config{RootCAs: pool})
		if err != nil {
			return err
		}
		return c.Close()
	})

	text, err := cp.Kubectl("get", "--raw", "/api/v1/nodes/"+a.NodeName+"/proxy/metrics")
	for _, of := range []string{"client", "server"} {
		if left, ok := sample(text, "kubelet_certificate_manager_"+of+"_ttl_seconds "); err != nil || !ok || left < 600 || left > 1e9 {
			t.Errorf("the metrics give the %s certificate %v s (found: %v, %v)", of, left, ok, err)
		}
	}

	// A certificate that is nearly over is renewed by itself, and the connection goes on with the new one.
	a.Stop()
	current := filepath.Join(a.RootDir, "pki", "kubelet-client-current.pem")
	old := cp.CA.Issue("nearly-over", testbed.Cert{Name: "system:node:" + a.NodeName, Groups: []string{"system:nodes"}, Life: 2 * time.Minute})
	crt, err1 := os.ReadFile(old.CertFile)
	key, err2 := os.ReadFile(old.KeyFile)
	place := filepath.Join(a.RootDir, "pki", "kubelet-client-2000-01-01-00-00-00.pem")
	if err := errors.Join(err1, err2, os.WriteFile(place, append(crt, key...), 0o600), os.Remove(current), os.Symlink(filepath.Base(place), current)); err != nil {
		t.Fatal(err)
	}
	a.Start()
	eventually("the client certificate is renewed", func() error {
		b, err := os.ReadFile(current)
		if err == nil && bytes.HasPrefix(b, crt) {
			err = errors.New("it is still the old one")
		}
		return err
	})
	eventually("the node is still ready", ready)
	// Without the bootstrap kubeconfig all goes on: it is for the first time alone.
	if err := os.Remove(bootstrap); err != nil {
		t.Fatal(err)
	}
	a.Kill()
	a.Start()
	eventually("the node is ready again", ready)
}
