package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestBuild_SaysThatContainersOfAPodThatEndedHaveEnded(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	sidecar := v1.Container{Name: "s", RestartPolicy: &always}
	inits := func(list ...v1.Container) *v1.Pod {
		p := testPod(v1.Container{Name: "a"})
		p.Spec.InitContainers = list
		return p
	}
	i, j := v1.Container{Name: "i"}, v1.Container{Name: "j"}
	for name, c := range map[string]struct {
		pod  *v1.Pod
		ran  []pod.Container
		want string
		stop *pod.Stop
	}{
		"none ran":                                            {testPod(v1.Container{Name: "a"}), nil, "a:137", nil},
		"one of two ran":                                      {testPod(v1.Container{Name: "a"}, v1.Container{Name: "b"}), []pod.Container{exited("a", 0, 3)}, "a:3 b:137", nil},
		"no init container ran":                               {inits(i, j), nil, "i:137 j:waiting a:waiting", nil},
		"the first init container failed":                     {inits(i, j), []pod.Container{exited("i", 0, 2)}, "i:2 j:waiting a:waiting", nil},
		"the init containers are through":                     {inits(i, j), []pod.Container{exited("i", 0, 0), exited("j", 0, 0)}, "i:0 j:0 a:137", nil},
		"a sidecar was not all that there was":                {inits(i, sidecar), []pod.Container{exited("i", 0, 0), exited("s", 0, 137)}, "i:0 s:137 a:waiting", nil},
		"the init container ended because its pod did":        {inits(i), []pod.Container{exited("i", 0, 0)}, "i:0 a:waiting", &pod.Stop{At: epoch}},
		"the init container ended before its pod was stopped": {inits(i), []pod.Container{exited("i", 0, 0)}, "i:0 a:137", &pod.Stop{At: epoch.Add(time.Minute)}},
	} {
		in := input(c.pod, c.ran...)
		if s := build(in); strings.Contains(fmt.Sprint(s), "when the pod was terminated") {
			t.Errorf("%s: a container has ended before its pod: %v", name, s)
		}
		in.Record.Verdict, in.Record.Stop = &pod.Verdict{Phase: v1.PodFailed}, c.stop
		s := build(in)
		var got []string
		for _, st := range append(s.InitContainerStatuses, s.ContainerStatuses...) {
			state := "waiting"
			if st.State.Terminated != nil {
				state = fmt.Sprint(st.State.Terminated.ExitCode)
			}
			got = append(got, st.Name+":"+state)
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s, want %s", name, g, c.want)
		}
	}
}

func TestBuild_OfARejectedPodTellsWhyAlone(t *testing.T) {
	p := testPod(v1.Container{Name: "a"})
	p.Status = v1.PodStatus{Phase: v1.PodPending, Conditions: []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue}}}
	in := input(p)
	in.Observed = pod.Observed{}
	in.Record.Verdict = &pod.Verdict{Phase: v1.PodFailed, Reason: "OutOfcpu", Message: "Pod was rejected: no", Rejected: true}
	s := build(in)
	want := v1.PodStatus{
		ObservedGeneration: 3, Phase: v1.PodFailed, Reason: "OutOfcpu", Message: "Pod was rejected: no", QOSClass: v1.PodQOSBestEffort,
		StartTime: s.StartTime, Conditions: p.Status.Conditions,
	}
	if d := cmp.Diff(want, s); d != "" || s.StartTime == nil {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestBuild_TellsTheMountsOfAContainerThatWasNeverMade(t *testing.T) {
	p := testPod(v1.Container{Name: "a", VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: true}}})
	want := []v1.VolumeMountStatus{{Name: "v", MountPath: "/v", ReadOnly: true, RecursiveReadOnly: new(v1.RecursiveReadOnlyDisabled)}}
	if d := cmp.Diff(want, build(input(p)).ContainerStatuses[0].VolumeMounts); d != "" {
		t.Error(d)
	}
}
