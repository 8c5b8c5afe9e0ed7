package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// groups writes down what is set.
type groups struct {
	mu   sync.Mutex
	did  []int64 // shares of burstable pods
	fail error
}

func (g *groups) EnsureNode(resources.CgroupValues) error { return g.fail }

func (g *groups) SetClasses(pods []*v1.Pod) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.did = append(g.did, resources.ClassCgroup(v1.PodQOSBurstable, pods, resources.Capacity{}).CPUShares)
	return nil
}

func requesting(cpu string, phase v1.PodPhase) *v1.Pod {
	return &v1.Pod{
		Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)},
		}}}},
		Status: v1.PodStatus{Phase: phase},
	}
}

func TestLimiter_FollowsThePodsThatAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{fail: errors.New("in use")}
		var mu sync.Mutex
		var pods []*v1.Pod
		var events []string
		changed := make(chan struct{})
		become := func(now ...*v1.Pod) {
			mu.Lock()
			defer mu.Unlock()
			pods = now
			close(changed)
			changed = make(chan struct{})
		}
		l := NewLimiter(LimiterConfig{
			Cgroups: g,
			Pods:    func() []*v1.Pod { mu.Lock(); defer mu.Unlock(); return pods },
			Changed: func() <-chan struct{} { mu.Lock(); defer mu.Unlock(); return changed },
			Event:   func(_, reason, _ string) { events = append(events, reason) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		rest := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		rest(time.Second)
		become(requesting("1", v1.PodRunning))
		rest(time.Second)
		become(requesting("1", v1.PodRunning), requesting("1", v1.PodPending)) // many at once are one change
		become(requesting("1", v1.PodRunning), requesting("3", v1.PodPending))
		rest(time.Second)
		become(requesting("1", v1.PodRunning), requesting("3", v1.PodSucceeded))
		rest(time.Second)
		become(requesting("1", v1.PodRunning)) // nothing to set
		rest(time.Second)
		if d := cmp.Diff([]int64{2, 1024, 4096, 1024}, g.did); d != "" {
			t.Errorf("shares that were set: %s", d)
		}
		g.fail = nil
		rest(2 * time.Minute)
		cancel()
		<-done
		if d := cmp.Diff([]string{"FailedNodeAllocatableEnforcement", "NodeAllocatableEnforced"}, events); d != "" {
			t.Errorf("events: %s", d)
		}
		if !slices.Equal(g.did[4:], []int64{1024, 1024}) {
			t.Errorf("set again each minute: %v", g.did[4:])
		}
	})
}
