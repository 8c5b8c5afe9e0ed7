package probes

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func inputOf(p *v1.Pod, state pod.ContainerState) plan.Input {
	return plan.Input{
		Desired: pod.Desired{Pod: p},
		Observed: pod.Observed{
			Sandboxes:  []pod.Sandbox{{ID: "box", IPs: []string{"10.0.0.9"}}},
			Containers: []pod.Container{{ID: "id", Name: "c", State: state, StartedAt: time.Now()}},
		},
	}
}

func TestSync_ProbesRunningContainersOnceTheirHookIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := New(n.config())
		defer s.Close()
		p := onePod(v1.Container{
			ReadinessProbe: execProbe("readiness", 10),
			Lifecycle:      &v1.Lifecycle{PostStart: &v1.LifecycleHandler{}},
		})
		created, hooking, done := inputOf(p, pod.ContainerCreated), inputOf(p, pod.ContainerRunning), inputOf(p, pod.ContainerRunning)
		hooking.Record.Hooks = map[string]pod.Hooks{"id": {PostStart: pod.HookBegun}}
		done.Record.Hooks = map[string]pod.Hooks{"id": {PostStart: pod.HookDone}}
		for _, in := range []plan.Input{created, hooking} {
			s.Sync(in)
			synctest.Wait()
			if got := n.take(); got != nil {
				t.Errorf("probed %v", got)
			}
		}
		s.Sync(done)
		synctest.Wait()
		if diff := cmp.Diff([]string{"0s readiness"}, n.take()); diff != "" {
			t.Error(diff)
		}
		done.Record.Stop = &pod.Stop{}
		s.Sync(done)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"10s readiness"}, n.take()); diff != "" {
			t.Errorf("while terminating: %s", diff)
		}
		s.Sync(inputOf(p, pod.ContainerExited))
		if got := s.Verdicts("u"); len(got) != 0 {
			t.Errorf("verdicts %v on what has exited", got)
		}
	})
}

func TestSync_WhatWasReportedOfTheSameContainerStands(t *testing.T) {
	yes := true
	status := v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "c", ContainerID: "containerd://id", Ready: true, Started: &yes}}}
	c := &v1.Container{Name: "c", StartupProbe: execProbe("s", 1), ReadinessProbe: execProbe("r", 1)}
	if diff := cmp.Diff(pod.Probes{Startup: pod.Success, Readiness: pod.Success}, reported(&status, c, "id")); diff != "" {
		t.Error(diff)
	}
	if got := reported(&status, c, "another"); got != (pod.Probes{}) {
		t.Errorf("another container takes over %+v", got)
	}
	if got := reported(&status, &v1.Container{Name: "c"}, "id"); got != (pod.Probes{}) {
		t.Errorf("probes that the container does not have stand at %+v", got)
	}
}

func TestSync_AddressOfThePod(t *testing.T) {
	s := New(Config{HostIP: func() string { return "192.0.2.1" }})
	host, sandboxed, reported := onePod(v1.Container{}), onePod(v1.Container{}), onePod(v1.Container{})
	host.Spec.HostNetwork = true
	noSandbox := plan.Input{Desired: pod.Desired{Pod: reported}, Record: pod.Record{Status: v1.PodStatus{PodIP: "10.0.0.7"}}}
	got := []string{s.podIP(inputOf(host, pod.ContainerRunning)), s.podIP(inputOf(sandboxed, pod.ContainerRunning)), s.podIP(noSandbox)}
	if want := []string{"192.0.2.1", "10.0.0.9", "10.0.0.7"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}
