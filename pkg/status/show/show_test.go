package show

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason, message string) v1.ContainerState {
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func ended(code int32, reason string) v1.ContainerState {
	return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

var running = v1.ContainerState{Running: &v1.ContainerStateRunning{}}

func TestState_SaysWhereAPodIsAndWhatItWaitsFor(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		pod         v1.Pod
		state, wait string
	}{
		"running and ready": {
			v1.Pod{Status: v1.PodStatus{Phase: "Running", PodIP: "1", ContainerStatuses: []v1.ContainerStatus{{Name: "c", Ready: true, State: running}}}},
			"Running", "",
		},
		"running and not ready": {
			v1.Pod{Status: v1.PodStatus{Phase: "Running", ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: running}, {Name: "d", Ready: true, State: running}}}},
			"Running", "probes of c",
		},
		"no sandbox yet": {v1.Pod{Status: v1.PodStatus{Phase: "Pending", ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: waiting("ContainerCreating", "")}}}}, "ContainerCreating", "sandbox"},
		"crash loop": {
			v1.Pod{Status: v1.PodStatus{Phase: "Running", ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: waiting("CrashLoopBackOff", "back-off  10s\nrestarting")}}}},
			"CrashLoopBackOff", "c: back-off 10s restarting",
		},
		"init container": {
			v1.Pod{
				Spec:   v1.PodSpec{InitContainers: []v1.Container{{}, {}}},
				Status: v1.PodStatus{Phase: "Pending", InitContainerStatuses: []v1.ContainerStatus{{Name: "a", State: ended(0, "Completed")}, {Name: "b", State: running}}},
			},
			"Init:1/2", "init container b",
		},
		"init container without its image": {
			v1.Pod{Status: v1.PodStatus{Phase: "Pending", InitContainerStatuses: []v1.ContainerStatus{{Name: "a", State: waiting("ErrImagePull", "no route")}}}},
			"Init:ErrImagePull", "a: no route",
		},
		"completed": {v1.Pod{Status: v1.PodStatus{Phase: "Succeeded", ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: ended(0, "Completed")}}}}, "Completed", ""},
		"evicted":   {v1.Pod{Status: v1.PodStatus{Phase: "Failed", Reason: "Evicted"}}, "Evicted", ""},
		"deleted":   {v1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: v1.PodStatus{Phase: "Running", PodIP: "1"}}, "Terminating", ""},
	} {
		if got := State(&c.pod); got != c.state {
			t.Errorf("%s: state %q, want %q", name, got, c.state)
		}
		if got := WaitsFor(&c.pod); got != c.wait {
			t.Errorf("%s: waits for %q, want %q", name, got, c.wait)
		}
	}
}

func TestClip_KeepsARowOnOneLine(t *testing.T) {
	long := Clip(strings.Repeat("wört\n", 100))
	if len(long) > maxCell || strings.ContainsAny(long, "\n\t") || !strings.HasSuffix(long, "...") {
		t.Errorf("clipped to %q", long)
	}
}
