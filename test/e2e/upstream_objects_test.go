package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func TestUpstream_HoldsWhatPodsNameAndRecordsEvents(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	u := joinUpstream(t, e, cp.NodeKubeconfig("n1"), "n1")
	ctx := t.Context()
	testbed.Eventually(t, 10*time.Second, "the node is Ready", func() error { return nodeReady(ctx, cp.Client(), "n1") })
	cp.Apply(namingPod)
	testbed.Eventually(t, 5*time.Second, "the pod arrives", func() error {
		if u.pod("p1") == nil {
			return errors.New("not seen")
		}
		return nil
	})
	p := u.pod("p1")
	u.objects.Reference(p)
	var c *v1.ConfigMap
	testbed.Eventually(t, 10*time.Second, "the ConfigMap that the pod names can be read", func() (err error) {
		c, err = objects.Get[v1.ConfigMap](ctx, u.objects, "default", "cm")
		return err
	})
	if c.Data["key"] != "one" || c.ManagedFields != nil {
		t.Errorf("ConfigMap: %v", c)
	}
	if _, err := objects.Get[v1.Secret](ctx, u.objects, "default", "other"); !apierrors.IsForbidden(err) {
		t.Errorf("a Secret that no pod names: %v", err)
	}
	if _, err := cp.Kubectl("patch", "configmap", "cm", "-p", `{"data":{"key":"two"}}`); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 5*time.Second, "the pod is poked and sees the change", func() error {
		c, err := objects.Get[v1.ConfigMap](ctx, u.objects, "default", "cm")
		if err != nil || c.Data["key"] != "two" || u.poked.Load() == 0 {
			return fmt.Errorf("%v, poked %d, %w", c.Data, u.poked.Load(), err)
		}
		return nil
	})
	token, err := u.objects.Token(ctx, "default", "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(3600)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID},
	}})
	if err != nil || token.Status.Token == "" {
		t.Errorf("token: %v", err)
	}

	for range 3 {
		u.events.Event(p, "web", v1.EventTypeWarning, "BackOff", "Back-off restarting failed container web")
	}
	u.events.NodeEvent(v1.EventTypeNormal, "Starting", "Starting the agent")
	testbed.Eventually(t, 5*time.Second, "kubectl shows the events with their count", func() error {
		out, err := cp.Kubectl("get", "events", "-o", `jsonpath={range .items[?(@.source.component=="kubelet")]}{.reason} {.count} {.involvedObject.fieldPath},{end}`)
		if err != nil || !strings.Contains(out, "BackOff 3 spec.containers{web},") || !strings.Contains(out, "Starting 1 ,") {
			return fmt.Errorf("%q %w", out, err)
		}
		return nil
	})
	if out, err := cp.Kubectl("describe", "pod", "p1"); err != nil || !strings.Contains(out, "(x3 over") {
		t.Errorf("kubectl describe: %v\n%s", err, out)
	}
}

const namingPod = `
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {key: one}
---
apiVersion: v1
kind: Pod
metadata: {name: p1}
spec:
  nodeName: n1
  containers: [{name: web, image: "minikubelet.dev/web:1", envFrom: [{configMapRef: {name: cm}}]}]
`
