package testbed_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func TestControlPlane_ServesKubectlAndHoldsNodesToTheirOwn(t *testing.T) {
	e := testbed.New(t)
	began := time.Now()
	cp := e.ControlPlane()
	t.Logf("control plane up in %s", time.Since(began).Round(time.Millisecond))

	out, err := cp.Kubectl("version")
	if err != nil || !strings.Contains(out, "Server Version: v1.36.3") {
		t.Errorf("kubectl version: %v\n%s", err, out)
	}
	if _, err := cp.Kubectl("get", "nodes"); err != nil {
		t.Error(err)
	}

	node, err := kubernetes.NewForConfig(e.RESTConfigOf(cp.NodeKubeconfig("a")))
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string) error {
		_, err := node.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err
	}
	if err := create("a"); err != nil {
		t.Errorf("a node cannot register itself: %v", err)
	}
	if create("b") == nil {
		t.Error("a node registered another: NodeRestriction is off")
	}

	cp.Apply(deployment)
	testbed.Eventually(t, 20*time.Second, "the controllers make a pod of a Deployment", func() error {
		_, err := cp.Kubectl("wait", "--for=jsonpath={.status.replicas}=1", "--timeout=1s", "deployment/web")
		return err
	})

	cp.StopAPI()
	if _, err := cp.Kubectl("get", "nodes"); err == nil {
		t.Error("kubectl works without an API server")
	}
	cp.StartAPI()
	if _, err := cp.Kubectl("get", "node", "a"); err != nil {
		t.Error(err)
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "minikubelet.dev/web:1"}]
`
