package cri

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// containerd 1.6 calls a container that was out of memory "Error" when systemd has removed its scope first.
func TestObserver_ExplainsExitsByTheOOMKillsOfThePod(t *testing.T) {
	kills := int64(0)
	o := NewObserver(nil, nil, func(string) int64 { return kills })
	accounted := int64(0)
	for _, step := range []struct {
		name    string
		kills   int64 // of the pod, in all
		state   pod.ContainerState
		code    int32
		reason  string
		want    string
		counted int64
	}{
		{"killed by a person", 0, pod.ContainerExited, 137, "Error", "Error", 0},
		{"out of memory, and the runtime missed it", 2, pod.ContainerExited, 137, "Error", "OOMKilled", 2},
		{"killed after that", 2, pod.ContainerExited, 137, "Error", "Error", 2},
		{"out of memory, as the runtime says", 3, pod.ContainerExited, 137, "OOMKilled", "OOMKilled", 3},
		{"a child was, and the container ended by itself", 4, pod.ContainerExited, 1, "Error", "Error", 3},
		{"still running", 5, pod.ContainerRunning, 0, "", "", 3},
	} {
		kills = step.kills
		c := pod.Container{State: step.state, ExitCode: step.code, Reason: step.reason}
		o.outOfMemory("u", &c, &accounted)
		if c.Reason != step.want || accounted != step.counted {
			t.Errorf("%s: reason %q, %d accounted for, want %q, %d", step.name, c.Reason, accounted, step.want, step.counted)
		}
	}
}

// What was never executed because the agent died is no run that failed.
func TestCutOff_IsAStartThatNobodyWaitedFor(t *testing.T) {
	const creating, starting = "failed to create containerd task: failed to create shim task: ", "failed to start containerd task \"a\": "
	for _, tt := range []struct {
		name    string
		message string
		started int64
		state   runtimeapi.ContainerState
		want    bool
	}{
		{"given up before there was a process", creating + "context canceled", 0, runtimeapi.ContainerState_CONTAINER_EXITED, true},
		{"the same, of containerd 1.6", creating + "context canceled: unknown", 0, runtimeapi.ContainerState_CONTAINER_EXITED, true},
		{"there may have been a process", starting + "context canceled", 0, runtimeapi.ContainerState_CONTAINER_EXITED, false},
		{"it cannot be executed", creating + "no such file or directory", 0, runtimeapi.ContainerState_CONTAINER_EXITED, false},
		{"it ran", creating + "context canceled", 1, runtimeapi.ContainerState_CONTAINER_EXITED, false},
		{"it is not over", creating + "context canceled", 0, runtimeapi.ContainerState_CONTAINER_CREATED, false},
	} {
		s := &runtimeapi.ContainerStatus{State: tt.state, Reason: "StartError", Message: tt.message, StartedAt: tt.started}
		if got := cutOff(s); got != tt.want {
			t.Errorf("%s: cutOff() = %v", tt.name, got)
		}
	}
}
