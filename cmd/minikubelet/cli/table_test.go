package cli

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilexec "k8s.io/client-go/util/exec"
)

func waiting(reason, message string) v1.ContainerState {
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func ended(code int32, reason string) v1.ContainerState {
	return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

func TestDescribePod_TellsEveryContainerAndEvent(t *testing.T) {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u"},
		Spec:       v1.PodSpec{InitContainers: []v1.Container{{Name: "first", Image: "i"}}, Containers: []v1.Container{{Name: "main", Image: "j"}}},
		Status: v1.PodStatus{
			Phase: "Running", Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: "False", Reason: "ContainersNotReady"}},
			ContainerStatuses: []v1.ContainerStatus{{Name: "main", State: waiting("CrashLoopBackOff", "soon"), LastTerminationState: ended(3, "Error"), RestartCount: 2}},
		},
	}
	var b strings.Builder
	events := []v1.Event{{Type: "Warning", Reason: "BackOff", Message: "Back-off restarting", Count: 4, LastTimestamp: metav1.Now()}}
	if err := describePod(&b, p, events, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"web", "CrashLoopBackOff: soon", "ended with exit code 3 (Error)", "Restarts:", "2", "ContainersNotReady", "(x4)", "Back-off restarting", "first:"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the description lacks %q:\n%s", want, b.String())
		}
	}
}

func TestDescribeNode_TellsRoomAndConditions(t *testing.T) {
	n := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"a": "b"}},
		Status: v1.NodeStatus{
			Capacity:    v1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi"), "pods": resource.MustParse("110")},
			Allocatable: v1.ResourceList{"cpu": resource.MustParse("1900m"), "memory": resource.MustParse("900Mi"), "pods": resource.MustParse("110")},
			Conditions: []v1.NodeCondition{
				{Type: v1.NodeMemoryPressure, Status: v1.ConditionTrue, Reason: "KubeletHasInsufficientMemory"},
				{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady"},
			},
		},
	}
	asks := v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("250m")}}}}}}
	ended := asks
	ended.Status.Phase = v1.PodSucceeded
	var b strings.Builder
	if err := describeNode(&b, n, []v1.Pod{asks, asks, ended}, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"Name: n1", "Ready,MemoryPressure", "a=b", "cpu 2 1900m 500m", "memory 1.0 GiB 900.0 MiB 0 B", "pods 110 110 2", "KubeletHasInsufficientMemory", "Events: none"} {
		if !strings.Contains(text, want) {
			t.Errorf("the description lacks %q:\n%s", want, b.String())
		}
	}
}

func TestTable_AlignsAndColoursOnATerminalAlone(t *testing.T) {
	rows := [][]cell{{{text: "wört"}, {text: "Running", colour: green}}, {{text: "b"}, {text: "Error", colour: red}}}
	for name, c := range map[string]struct {
		to     screen
		header []string
		clip   bool
		want   string
	}{
		"plain":     {screen{}, []string{"NAME", "STATUS"}, false, "NAME   STATUS\nwört   Running\nb      Error\n"},
		"no header": {screen{}, nil, false, "wört   Running\nb      Error\n"},
		"colours":   {screen{colour: true}, nil, false, "wört   \x1b[32mRunning\x1b[0m\nb      \x1b[31mError\x1b[0m\n"},
		"clipped":   {screen{width: 9}, []string{"NAME", "STATUS"}, true, "NAME   ST\nwört   Ru\nb      Er\n"},
	} {
		var b strings.Builder
		c.to.w = &b
		if err := c.to.table(c.header, rows, c.clip); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%s: %q, want %q", name, b.String(), c.want)
		}
	}
	if s := newScreen(&strings.Builder{}); s.colour || s.width != 0 {
		t.Errorf("a pipe is taken for a terminal: %+v", s)
	}
}

func TestLineWriter_KeepsLinesWhole(t *testing.T) {
	var b strings.Builder
	w := &lineWriter{prefix: "[c] ", mu: &sync.Mutex{}, out: &b}
	for _, part := range []string{"on", "e\ntw", "", "o\n\nlast"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := w.flush(); err != nil || b.String() != "[c] one\n[c] two\n[c] \n[c] last\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestCode_TellsScriptsWhatFailed(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, 1: errors.New("x"), 2: Usage("give %s", "more"), 3: errors.Join(errors.New("x"), notFound("pod")),
		4: newClient("/none").unreachable(syscall.ECONNREFUSED), 42: exitOf(utilexec.CodeExitError{Code: 42, Err: errors.New("x")}, nil),
		125: exitOf(notFound("pod"), nil), 126: exitOf(errors.New("broken"), &v1.Pod{}),
	} {
		if got := Code(err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}
