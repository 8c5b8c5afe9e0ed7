package status_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// restartsAll is a pod whose container a restarts all containers with exit code 3.
func restartsAll() *v1.Pod {
	return testPod(v1.Container{Name: "a", RestartPolicyRules: []v1.ContainerRestartRule{{
		Action:    v1.ContainerRestartRuleActionRestartAllContainers,
		ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{3}},
	}}}, v1.Container{Name: "b"})
}

func TestBuild_TellsOfARestartOfAllContainers(t *testing.T) {
	a, b := exited("a", 0, 3), exited("b", 0, 137)
	in := input(restartsAll(), b, a)
	in.Record.Restart = &pod.Restart{By: "a", At: b.FinishedAt}
	waits := pod.Reason{Reason: plan.ReasonRestart, Message: "why"}
	s := status.Build(in, plan.Decision{Record: in.Record, Waiting: map[string]pod.Reason{"a": waits, "b": waits}}, host)
	if c := condition(t, s, v1.AllContainersRestarting); c.Status != v1.ConditionTrue || c.Reason != "RestartAllContainersStarted" || c.ObservedGeneration != 0 {
		t.Errorf("while it goes on: %+v", c)
	}
	for i, want := range []string{"Error", "RestartingAllContainers"} {
		last, w := s.ContainerStatuses[i].LastTerminationState.Terminated, s.ContainerStatuses[i].State.Waiting
		if last == nil || last.Reason != want || w == nil || w.Reason != "RestartingAllContainers" {
			t.Errorf("container %d is %+v", i, s.ContainerStatuses[i])
		}
	}

	in.Record.Restart, in.Record.Status = nil, s
	in.Observed.Containers = nil
	s = status.Build(in, plan.Decision{Record: in.Record, Waiting: map[string]pod.Reason{"a": {Reason: "ContainerCreating"}, "b": {Reason: "ContainerCreating"}}}, host)
	if c := condition(t, s, v1.AllContainersRestarting); c.Status != v1.ConditionFalse || s.Phase != v1.PodRunning {
		t.Errorf("afterwards: %s, %+v", s.Phase, c)
	}
	if last := s.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 3 {
		t.Errorf("the exit that began it is forgotten: %+v", s.ContainerStatuses[0])
	}
	for _, c := range build(input(testPod(v1.Container{Name: "a"}), running("a"))).Conditions {
		if c.Type == v1.AllContainersRestarting {
			t.Error("a pod without such a rule has the condition")
		}
	}
}

func TestBuild_SharesTwelveKibibytesAmongTerminationMessages(t *testing.T) {
	var specs []v1.Container
	var containers []pod.Container
	for _, name := range strings.Split("abcdef", "") {
		specs = append(specs, v1.Container{Name: name})
		c := exited(name, 0, 1)
		c.Message = strings.Repeat("é", 2048) // 4096 bytes
		containers = append(containers, c)
	}
	for n, want := range map[int]int{1: 4096, 3: 4096, 5: 2456, 6: 2048} {
		s := build(input(testPod(specs[:n]...), containers[:n]...))
		if m := s.ContainerStatuses[n-1].State.Terminated.Message; len(m) != want || !utf8.ValidString(m) {
			t.Errorf("of %d containers, each has %d bytes, want %d", n, len(m), want)
		}
	}
}

// JSON has one replacement for each byte that is not of a character; so a status is equal to itself after a round trip.
func TestBuild_ReplacesEachBadByteOfATerminationMessage(t *testing.T) {
	for name, tt := range map[string]struct{ message, want string }{
		"a run of them":       {"a\xff\xfe\x80b", "a\uFFFD\uFFFD\uFFFDb"},
		"a character cut off": {"\xa9é\xc3", "\uFFFDé\uFFFD"},
		"as many as may be":   {strings.Repeat("\xff", 4096), strings.Repeat("\uFFFD", 4096)},
		"more than the share": {strings.Repeat("\x80", 7000), strings.Repeat("\uFFFD", 6144-3)},
	} {
		c := exited("a", 0, 1)
		c.Message = tt.message
		s := build(input(testPod(v1.Container{Name: "a"}, v1.Container{Name: "b"}), c))
		if m := s.ContainerStatuses[0].State.Terminated.Message; m != tt.want {
			t.Errorf("%s: %d bytes: %.40q, want %d: %.40q", name, len(m), m, len(tt.want), tt.want)
		}
	}
}

func TestBuild_TellsTheStopSignalThatAContainerAsksFor(t *testing.T) {
	asks := v1.Container{Name: "a", Lifecycle: &v1.Lifecycle{StopSignal: new(v1.SIGUSR1)}}
	c := running("a")
	c.StopSignal = "SIGUSR1"
	if s := build(input(testPod(asks), c)).ContainerStatuses[0].StopSignal; s == nil || *s != v1.SIGUSR1 {
		t.Errorf("it has %v", s)
	}
	if s := build(input(testPod(v1.Container{Name: "a"}), c)).ContainerStatuses[0].StopSignal; s != nil {
		t.Errorf("one that asks for none has %v", *s)
	}
}

func TestBuild_TellsTheEndOfAContainerUntilItRunsAgainOrMustWait(t *testing.T) {
	for name, tt := range map[string]struct {
		waiting map[string]pod.Reason
		want    string // why it waits; "": it is terminated
	}{
		"ended for good":      {nil, ""},
		"about to run again":  {map[string]pod.Reason{"a": {Reason: "ContainerCreating"}}, ""},
		"in a crash loop":     {map[string]pod.Reason{"a": {Reason: "CrashLoopBackOff", Message: "back-off 10s"}}, "back-off 10s"},
		"without its sandbox": {map[string]pod.Reason{"a": {Reason: "ContainerCreating"}, "": {Reason: "FailedCreatePodSandBox", Message: "no address"}}, "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(testPod(v1.Container{Name: "a"}), exited("a", 2, 3))
			c := status.Build(in, plan.Decision{Record: in.Record, Waiting: tt.waiting}, host).ContainerStatuses[0]
			end, w := c.State.Terminated, c.State.Waiting
			if w != nil {
				end = c.LastTerminationState.Terminated
			}
			if end == nil || end.ExitCode != 3 || c.RestartCount != 2 || (w == nil) != (tt.want == "") || w != nil && w.Message != tt.want {
				t.Errorf("the status is %+v", c)
			}
		})
	}
}

// An API server takes no status in which a container has left its end against its restart policy.
func TestBuild_TellsNoEndThatItsPolicyCouldNotUndo(t *testing.T) {
	for _, tt := range []struct {
		policy v1.RestartPolicy
		exit   int32
		ended  bool
	}{
		{v1.RestartPolicyAlways, 0, true}, {v1.RestartPolicyAlways, 137, true}, {v1.RestartPolicyOnFailure, 137, true},
		{v1.RestartPolicyOnFailure, 0, false}, {v1.RestartPolicyNever, 0, false}, {v1.RestartPolicyNever, 137, false},
	} {
		p := testPod(v1.Container{Name: "a"})
		p.Spec.RestartPolicy = tt.policy
		in := input(p, exited("a", 0, tt.exit)) // its definition has changed
		d := plan.Decision{Record: in.Record, Waiting: map[string]pod.Reason{"a": {Reason: "ContainerCreating"}}}
		c := status.Build(in, d, host).ContainerStatuses[0]
		if (c.State.Terminated != nil) != tt.ended || !tt.ended && (c.State.Waiting == nil || c.LastTerminationState.Terminated == nil) {
			t.Errorf("%s, exit %d: %+v, last %+v", tt.policy, tt.exit, c.State, c.LastTerminationState)
		}
	}
}

// An init container that runs again in a new sandbox is not through: its good end there says nothing here.
func TestBuild_AnInitContainerThatRunsAgainIsNotDone(t *testing.T) {
	p := testPod(v1.Container{Name: "a"})
	p.Spec.InitContainers = []v1.Container{{Name: "i"}}
	in := input(p, exited("i", 0, 0))
	s := status.Build(in, plan.Decision{Record: in.Record, Waiting: map[string]pod.Reason{"i": {Reason: "PodInitializing"}}}, host)
	if c := condition(t, s, v1.PodInitialized); c.Status != v1.ConditionFalse || s.InitContainerStatuses[0].Ready {
		t.Errorf("%+v, %+v", c, s.InitContainerStatuses[0])
	}
}

// When its wait is over and it has not run yet, nothing new is known of a container in a crash loop.
func TestBuild_LeavesACrashLoopWhenTheContainerRuns(t *testing.T) {
	in := input(testPod(v1.Container{Name: "a"}), exited("a", 2, 3))
	loops := map[string]pod.Reason{"a": {Reason: "CrashLoopBackOff", Message: "back-off 10s"}}
	in.Record.Status = status.Build(in, plan.Decision{Record: in.Record, Waiting: loops}, host)
	about := map[string]pod.Reason{"a": {Reason: "ContainerCreating"}}
	c := status.Build(in, plan.Decision{Record: in.Record, Waiting: about}, host).ContainerStatuses[0]
	if w, last := c.State.Waiting, c.LastTerminationState.Terminated; w == nil || w.Reason != "CrashLoopBackOff" || last == nil || last.ExitCode != 3 {
		t.Errorf("the status is %+v", c)
	}
}
