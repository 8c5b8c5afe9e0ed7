package loop

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestSet_APodKeepsItsResourcesUntilTheNodeHasOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld()
		full := true
		resize := func(others []*v1.Pod, p *v1.Pod) *pod.Reason {
			if len(others) != 1 || others[0].Name != "b" {
				t.Errorf("others: %v", others)
			}
			if full {
				return &pod.Reason{Reason: v1.PodReasonDeferred, Message: "no room"}
			}
			return nil
		}
		s := NewSet(w.config(), fits, resize)
		asking := func(version, cpu string) *v1.Pod {
			p := testPod("a", "1")
			p.ResourceVersion = version
			p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
			return p
		}
		has := func() string { return s.Pod("1").Spec.Containers[0].Resources.Requests.Cpu().String() }
		pending := func() bool {
			return slices.ContainsFunc(s.Pod("1").Status.Conditions, func(c v1.PodCondition) bool {
				return c.Type == v1.PodResizePending && c.Reason == v1.PodReasonDeferred
			})
		}
		other, grown := testPod("b", "2"), asking("2", "2")
		s.Apply(ctx, desired(asking("1", "1"), other), always)
		pass(time.Second)
		s.Apply(ctx, desired(grown, other), always)
		pass(time.Second)
		if has() != "1" || !pending() {
			t.Errorf("with no room: CPU %s, pending %v", has(), pending())
		}
		if kept := w.saved["1"].Pod.Spec.Containers[0].Resources.Requests.Cpu().String(); kept != "1" {
			t.Errorf("the record has CPU %s", kept)
		}
		if n := count(w.events, "ResizeDeferred"); n != 1 {
			t.Errorf("%d events ResizeDeferred", n)
		}
		full = false
		s.Apply(ctx, desired(grown, other), always)
		pass(time.Second)
		if has() != "2" || pending() {
			t.Errorf("with room: CPU %s, pending %v", has(), pending())
		}
		cancel()
		s.Wait()
	})
}
