package act

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func TestCreateSandbox_IsRefusedToAPodThatNeedsAClaim(t *testing.T) {
	const want = "Failed to prepare dynamic resources: this node has no dynamic resource allocation, which resource claim gpu of the pod needs"
	var got string
	e := New(Config{Event: func(_ *v1.Pod, _, typ, reason, message string) {
		if typ != v1.EventTypeWarning || reason != "FailedPrepareDynamicResources" {
			t.Errorf("the event is %s %s", typ, reason)
		}
		got = message
	}})
	p := &v1.Pod{Spec: v1.PodSpec{ResourceClaims: []v1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu-1")}}}}
	err := e.createSandbox(t.Context(), plan.Input{Desired: pod.Desired{Pod: p}}, plan.Action{Kind: plan.SandboxCreate, Attempt: 1})
	if err == nil || !strings.HasPrefix(got, want) {
		t.Errorf("error %v, event %q, want %q", err, got, want)
	}
}

func TestNeededClaim_IsOneThatIsNotWaived(t *testing.T) {
	template := v1.PodResourceClaim{Name: "gpu", ResourceClaimTemplateName: new("t")}
	for name, c := range map[string]struct {
		spec   v1.PodSpec
		status v1.PodStatus
		want   string
	}{
		"none":              {},
		"by name":           {spec: v1.PodSpec{ResourceClaims: []v1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu-1")}}}, want: "gpu"},
		"not made yet":      {spec: v1.PodSpec{ResourceClaims: []v1.PodResourceClaim{template}}, want: "gpu"},
		"made":              {spec: v1.PodSpec{ResourceClaims: []v1.PodResourceClaim{template}}, status: v1.PodStatus{ResourceClaimStatuses: []v1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: new("p-gpu")}}}, want: "gpu"},
		"none is needed":    {spec: v1.PodSpec{ResourceClaims: []v1.PodResourceClaim{template}}, status: v1.PodStatus{ResourceClaimStatuses: []v1.PodResourceClaimStatus{{Name: "gpu"}}}},
		"extended resource": {status: v1.PodStatus{ExtendedResourceClaimStatus: &v1.PodExtendedResourceClaimStatus{ResourceClaimName: "p-ext"}}, want: "p-ext"},
	} {
		if got := neededClaim(&v1.Pod{Spec: c.spec, Status: c.status}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
