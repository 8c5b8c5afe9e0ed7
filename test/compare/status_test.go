package compare

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func container(s v1.ContainerState) v1.PodStatus {
	return v1.PodStatus{Phase: v1.PodRunning, StartTime: &metav1.Time{}, ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: s}}}
}

func waiting(reason string) v1.PodStatus {
	s := container(v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: "m"}})
	s.Conditions = []v1.PodCondition{{Type: v1.PodReadyToStartContainers, Status: v1.ConditionTrue}}
	return s
}

func TestWays_LeaveOutWhatAQuickAgentMayNeverShow(t *testing.T) {
	running := container(v1.ContainerState{Running: &v1.ContainerStateRunning{}})
	s := &seen{statuses: []v1.PodStatus{
		{Phase: v1.PodPending}, waiting("ContainerCreating"), waiting("ErrImagePull"), waiting("ErrImagePull"), running, running,
		container(v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}}), running,
	}}
	want := map[string][]string{
		"phase":       {"Pending", "Running"},
		"container c": {"waiting ErrImagePull m", "running", "terminated 3 Error", "running"},
	}
	if d := cmp.Diff(want, s.ways()); d != "" {
		t.Error(d)
	}
}

func TestSettled_IsWhatTheCaseNames(t *testing.T) {
	ready := waiting("")
	ready.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	early := waiting("X")
	early.Conditions = nil
	over := v1.PodStatus{Phase: v1.PodFailed, StartTime: &metav1.Time{}}
	events := []v1.Event{{Reason: "BackOff"}}
	for _, tt := range []struct {
		until string
		st    v1.PodStatus
		want  bool
	}{
		{"", ready, true}, {"", over, true}, {"", waiting("X"), false}, {"", v1.PodStatus{Phase: v1.PodFailed}, false},
		{"running", waiting("X"), true}, {"running", over, false}, {"ended", over, true}, {"ended", ready, false},
		{"waiting X", waiting("X"), true}, {"waiting X", waiting("Y"), false}, {"waiting X", over, false}, {"waiting X", early, false},
		{"event BackOff", waiting("X"), true}, {"event Pulled", waiting("X"), false}, {"event BackOff", v1.PodStatus{}, false},
	} {
		if got := settled(tt.until, tt.st, events); got != tt.want {
			t.Errorf("%q is over with %v: %v", tt.until, tt.st, got)
		}
	}
}

func TestRest_IsLongerUntilTheSandboxOfAnEndedPodIsStopped(t *testing.T) {
	over, runs := waiting("X"), waiting("X")
	over.Phase, runs.Phase = v1.PodFailed, v1.PodRunning
	stopped := v1.PodStatus{Phase: v1.PodFailed}
	if rest(over) <= rest(runs) || rest(stopped) != rest(runs) {
		t.Errorf("ended %s, stopped %s, running %s", rest(over), rest(stopped), rest(runs))
	}
}
