package status_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// TestBuild_AgreesWithThePlan decides and reports upon random observations, records and reports, and checks that what is
// done and what is said fit each other. A failure prints its seed.
func TestBuild_AgreesWithThePlan(t *testing.T) {
	for seed := range uint64(20_000) {
		in := randomInput(rand.New(rand.NewPCG(seed, 1)))
		d := plan.Next(in)
		s := status.Build(in, d, host)
		if err := disagreement(in, d, s); err != "" {
			t.Fatalf("seed %d: %s\nobserved %+v\nreported %+v\nactions %+v\nsaid %+v", seed, err, in.Observed.Containers, in.Record.Status, d.Actions, s)
		}
	}
}

// disagreement tells in what the decision and the status contradict each other, or "".
func disagreement(in plan.Input, d plan.Decision, s v1.PodStatus) string {
	p, succeeded := in.Desired.Pod, true
	for role, c := range pod.Spec(p) {
		h := pod.HistoryOf(&in.Observed, &in.Record.Status, c.Name)
		said := pod.StatusOf(&s, c.Name)
		ran := h.Ran != nil || h.Lost
		switch {
		case h.Reported != nil && said.RestartCount < h.Reported.RestartCount:
			return c.Name + ": its restart count has gone back"
		case h.Ran != nil && said.RestartCount < int32(h.Ran.Attempt):
			return c.Name + ": its restart count is less than the attempt that has run"
		case ran && h.Next() <= uint32(said.RestartCount):
			return fmt.Sprintf("%s: its next run, %d, does not raise the restart count", c.Name, h.Next())
		case said.State.Running != nil && h.Stage() != pod.Running && h.Stage() != pod.Created:
			return c.Name + ": it is said to run, and the plan takes it for ended"
		case h.Stage() == pod.Running && said.State.Running == nil:
			return c.Name + ": the plan takes it to run, and it is not said to"
		case said.Ready && role != pod.Init && said.State.Running == nil:
			return c.Name + ": it is said to be ready and does not run"
		}
		if h.Stage() == pod.Ended {
			code, _, _ := h.End()
			if told := end(said); told == nil || told.ExitCode != code {
				return fmt.Sprintf("%s: the plan goes by exit code %d, and %v is said", c.Name, code, told)
			}
		}
		for _, a := range d.Actions {
			if a.Kind == plan.ContainerStart && a.Name == c.Name && ran && h.Stage() != pod.Created && a.Attempt <= uint32(said.RestartCount) {
				return fmt.Sprintf("%s: attempt %d starts, and restart count %d is said", c.Name, a.Attempt, said.RestartCount)
			}
		}
		// A run that was made and has not started hides the end of the one before from the verdict: it was to run again.
		if role == pod.Main && h.Stage() != pod.Created {
			t := said.State.Terminated
			succeeded = succeeded && t != nil && t.ExitCode == 0
		}
	}
	if v := d.Verdict; v != nil && v.Phase == v1.PodSucceeded && !succeeded {
		return "the pod has succeeded, and a main container is not said to have"
	}
	if again := status.Build(withStatus(in, s), d, host); !sameEnds(s, again) {
		return "a second look at the same says something else"
	}
	return ""
}

// end is how a container is said to have ended last, or nil.
func end(s *v1.ContainerStatus) *v1.ContainerStateTerminated {
	if s.State.Terminated != nil {
		return s.State.Terminated
	}
	return s.LastTerminationState.Terminated
}

func withStatus(in plan.Input, s v1.PodStatus) plan.Input {
	in.Record.Status = s
	return in
}

// sameEnds compares what may not depend on when a status is built.
func sameEnds(a, b v1.PodStatus) bool {
	for c := range pod.Statuses(&a) {
		o := pod.StatusOf(&b, c.Name)
		if o == nil || c.RestartCount != o.RestartCount || c.ContainerID != o.ContainerID || (c.State.Running == nil) != (o.State.Running == nil) {
			return false
		}
	}
	return true
}

// randomInput is a pod of up to four containers with any runs that a runtime could have, and any report of them.
func randomInput(r *rand.Rand) plan.Input {
	p := testPod()
	p.Spec.RestartPolicy = []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}[r.IntN(3)]
	if r.IntN(2) == 0 {
		c := v1.Container{Name: "init", Image: "img"}
		if r.IntN(2) == 0 {
			c.RestartPolicy = new(v1.ContainerRestartPolicyAlways)
		}
		p.Spec.InitContainers = []v1.Container{c}
	}
	for i := range 1 + r.IntN(2) {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: fmt.Sprint("main", i), Image: "img"})
	}
	if r.IntN(4) == 0 {
		p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "img"}}}
	}
	in := input(p)
	in.Observed.Sandboxes[0].Ready = r.IntN(4) > 0
	in.Record.Attempts = map[string]uint32{}
	for role, c := range pod.Spec(p) {
		in.Observed.Containers = append(in.Observed.Containers, randomRuns(r, c)...)
		if r.IntN(2) == 0 {
			report(&in.Record.Status, role, randomReport(r, c.Name))
		}
		if r.IntN(3) == 0 {
			in.Record.Attempts[c.Name] = uint32(r.IntN(5))
		}
		if r.IntN(2) == 0 {
			in.Observed.Images = map[string]pod.Image{c.Name: {Ref: "img", ID: "sha256:1", Attempt: uint32(r.IntN(5))}}
		}
	}
	switch r.IntN(6) {
	case 0:
		in.Desired.Stop = &pod.Stop{Grace: time.Second, At: epoch, By: string(pod.SourceAPI)}
	case 1:
		in.Observed.Sandboxes = nil
	}
	in.Observed.Dir, in.Observed.Cgroup = r.IntN(4) > 0, r.IntN(4) > 0
	return in
}

// randomRuns are up to three runs of a container, newest first: all but the newest have ended.
func randomRuns(r *rand.Rand, c *v1.Container) (runs []pod.Container) {
	attempt := uint32(r.IntN(5))
	for n := r.IntN(4); n > 0; n-- {
		o := pod.Container{
			ID: fmt.Sprintf("%s-%d", c.Name, attempt), Name: c.Name, SandboxID: []string{"s", "old"}[r.IntN(8)/7], Attempt: attempt, Image: "img",
			Hash: pod.ContainerHash(c), State: pod.ContainerExited, StartedAt: epoch, FinishedAt: epoch.Add(time.Second), ExitCode: int32(r.IntN(2)),
		}
		if len(runs) == 0 {
			o.State = []pod.ContainerState{pod.ContainerCreated, pod.ContainerRunning, pod.ContainerExited, pod.ContainerUnknown}[r.IntN(4)]
		}
		if o.State != pod.ContainerExited {
			o.FinishedAt, o.ExitCode = time.Time{}, 0
		}
		runs = append(runs, o)
		if attempt == 0 {
			break
		}
		attempt--
	}
	return runs
}

// randomReport is what an agent, this one or another, may have reported of a container.
func randomReport(r *rand.Rand, name string) v1.ContainerStatus {
	n := int32(r.IntN(6)) - 1 // an API server takes a negative one from anybody
	s := v1.ContainerStatus{Name: name, RestartCount: n, Started: new(r.IntN(2) == 0), Ready: r.IntN(2) == 0}
	if r.IntN(4) > 0 {
		s.ContainerID = fmt.Sprintf("containerd://%s-%d", name, n)
	}
	end := v1.ContainerState{Terminated: ended(fmt.Sprintf("%s-%d", name, n), int32(r.IntN(2)), "Error")}
	switch r.IntN(4) {
	case 0:
		s.State = waits("CrashLoopBackOff", "")
	case 1:
		s.State.Running = &v1.ContainerStateRunning{}
	case 2:
		s.State = end
	}
	if r.IntN(2) == 0 {
		s.LastTerminationState = end
	}
	return s
}

func report(s *v1.PodStatus, role pod.Role, c v1.ContainerStatus) {
	switch role {
	case pod.Main:
		s.ContainerStatuses = append(s.ContainerStatuses, c)
	case pod.Ephemeral:
		s.EphemeralContainerStatuses = append(s.EphemeralContainerStatuses, c)
	default:
		s.InitContainerStatuses = append(s.InitContainerStatuses, c)
	}
}
