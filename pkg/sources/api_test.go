package sources_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
)

// podServer answers lists with its pods and watches with its watcher.
type podServer struct {
	away  bool
	pods  []v1.Pod
	watch *watch.FakeWatcher
}

func (s *podServer) List(_ context.Context, _ kube.Key, o metav1.ListOptions, into runtime.Object) error {
	if s.away {
		return errors.New("connection refused")
	}
	if o.FieldSelector != "spec.nodeName=n1" {
		return errors.New("the Node authorizer forbids it")
	}
	into.(*v1.PodList).Items = s.pods
	return nil
}

func (s *podServer) Watch(context.Context, kube.Key, metav1.ListOptions) (watch.Interface, error) {
	s.watch = watch.NewFake()
	return s.watch, nil
}

func apiPod(name, uid string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "ns", UID: types.UID(uid), ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	for _, c := range change {
		c(p)
	}
	return p
}

// emitted runs the source and gives what it emits, as lists of names.
func emitted(t *testing.T, s *podServer) (sets *[][]*v1.Pod) {
	sets = &[][]*v1.Pod{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	a := sources.API{Client: s, Node: "n1", Emit: func(pods []*v1.Pod) { *sets = append(*sets, pods) }}
	go func() { a.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return sets
}

func names(sets [][]*v1.Pod) (out [][]string) {
	for _, set := range sets {
		var n []string
		for _, p := range set {
			n = append(n, p.Name+"/"+string(p.UID))
		}
		out = append(out, n)
	}
	return out
}

func TestAPI_EmitsTheWholeSetOnEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &podServer{pods: []v1.Pod{*apiPod("b", "1")}}
		sets := emitted(t, s)
		s.watch.Add(apiPod("a", "2"))
		s.watch.Modify(apiPod("a", "2", func(p *v1.Pod) { p.ResourceVersion, p.Status.Phase = "9", v1.PodRunning })) // our own write
		s.watch.Modify(apiPod("a", "2", func(p *v1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }))
		s.watch.Delete(apiPod("a", "2"))
		s.watch.Add(apiPod("b", "3")) // the deletion of the other b was missed
		synctest.Wait()
		want := [][]string{{"b/1"}, {"a/2", "b/1"}, {"a/2", "b/1"}, {"b/1"}, {"b/3"}}
		if d := cmp.Diff(want, names(*sets)); d != "" {
			t.Errorf("sets (-want +got):\n%s", d)
		}
		p := (*sets)[0][0]
		if p.ManagedFields != nil || p.Annotations[pod.AnnotationSource] != "api" || p.Annotations[pod.AnnotationSeen] == "" {
			t.Errorf("as emitted: %+v", p.ObjectMeta)
		}
	})
}

func TestAPI_EmitsAReadinessGateThatFlips(t *testing.T) {
	gated := func(status v1.ConditionStatus) *v1.Pod {
		return apiPod("a", "1", func(p *v1.Pod) {
			p.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "lb"}}
			p.Status.Conditions = []v1.PodCondition{{Type: "lb", Status: status}}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &podServer{pods: []v1.Pod{*gated(v1.ConditionFalse)}}
		sets := emitted(t, s)
		s.watch.Modify(gated(v1.ConditionTrue))
		synctest.Wait()
		if len(*sets) != 2 {
			t.Errorf("%d sets, want 2", len(*sets))
		}
	})
}

func TestAPI_EmitsNothingBeforeTheServerHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if sets := emitted(t, &podServer{away: true}); len(*sets) != 0 {
			t.Errorf("emitted %v", names(*sets))
		}
	})
}
