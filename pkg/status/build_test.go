package status_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

var (
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)
	host  = status.HostInfo{Name: "n", IPs: []string{"192.0.2.1", "2001:db8::1"}}
)

func testPod(containers ...v1.Container) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Generation: 3}}
	p.Spec.Containers = containers
	return p
}

func running(name string) pod.Container {
	return pod.Container{
		ID: name + "-id", Name: name, SandboxID: "s", State: pod.ContainerRunning, StartedAt: epoch, Image: "img", ImageID: "sha256:1",
	}
}

func exited(name string, attempt uint32, code int32) pod.Container {
	return pod.Container{
		ID: name + "-dead", Name: name, SandboxID: "s", State: pod.ContainerExited, Attempt: attempt, ExitCode: code,
		StartedAt: epoch, FinishedAt: epoch.Add(time.Second),
	}
}

func input(p *v1.Pod, containers ...pod.Container) plan.Input {
	return plan.Input{
		Desired: pod.Desired{Pod: p}, Now: epoch.Add(time.Minute),
		Observed: pod.Observed{Sandboxes: []pod.Sandbox{{ID: "s", Ready: true, IPs: []string{"10.0.0.7"}}}, Containers: containers},
	}
}

func build(in plan.Input) v1.PodStatus {
	return status.Build(in, plan.Decision{Record: in.Record}, host)
}

func condition(t *testing.T, s v1.PodStatus, typ v1.PodConditionType) v1.PodCondition {
	t.Helper()
	for _, c := range s.Conditions {
		if c.Type == typ {
			return c
		}
	}
	t.Fatalf("no condition %s in %v", typ, s.Conditions)
	return v1.PodCondition{}
}

func TestBuild_TellsHowMountsWereMade(t *testing.T) {
	const on, off, may = v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyIfPossible
	for name, tt := range map[string]struct {
		asked, want *v1.RecursiveReadOnlyMode
		propagation v1.MountPropagationMode
		readOnly    bool
		able        bool
	}{
		"writable":                        {},
		"read-only":                       {readOnly: true, able: true, want: new(off)},
		"recursively":                     {readOnly: true, able: true, asked: new(on), want: new(on)},
		"if possible":                     {readOnly: true, able: true, asked: new(may), want: new(on)},
		"if possible, which it is not":    {readOnly: true, asked: new(may), want: new(off)},
		"if possible, while it is shared": {readOnly: true, able: true, asked: new(may), want: new(off), propagation: v1.MountPropagationHostToContainer},
	} {
		m := v1.VolumeMount{Name: "v", MountPath: "/v", ReadOnly: tt.readOnly, RecursiveReadOnly: tt.asked}
		if tt.propagation != "" {
			m.MountPropagation = &tt.propagation
		}
		p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "a", VolumeMounts: []v1.VolumeMount{m}}}}}
		in := plan.Input{Desired: pod.Desired{Pod: p}, Observed: pod.Observed{Containers: []pod.Container{{ID: "1", Name: "a", State: pod.ContainerRunning}}}}
		got := status.Build(in, plan.Decision{}, status.HostInfo{RecursiveReadOnly: tt.able}).ContainerStatuses[0].VolumeMounts
		if d := cmp.Diff([]v1.VolumeMountStatus{{Name: "v", MountPath: "/v", ReadOnly: tt.readOnly, RecursiveReadOnly: tt.want}}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestBuild_ReportsARunningPod(t *testing.T) {
	p := testPod(v1.Container{
		Name: "a", Image: "img",
		Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")},
			Limits:   v1.ResourceList{v1.ResourceCPU: resource.MustParse("1"), v1.ResourceMemory: resource.MustParse("1Gi")},
		},
		VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: true}},
	})
	c := running("a")
	c.User = &pod.User{UID: 1, GID: 2, SupplementalGroups: []int64{3}}
	c.Resources = &pod.Resources{CPUQuota: 100_000, CPUPeriod: 100_000, MemoryLimit: 2 << 30}
	now, started := metav1.NewTime(epoch.Add(time.Minute).Truncate(time.Second)), metav1.NewTime(epoch.Truncate(time.Second))
	on := func(typ v1.PodConditionType) v1.PodCondition {
		return v1.PodCondition{Type: typ, Status: v1.ConditionTrue, ObservedGeneration: 3, LastTransitionTime: now}
	}
	want := v1.PodStatus{
		ObservedGeneration: 3, Phase: v1.PodRunning, QOSClass: v1.PodQOSBurstable, StartTime: &now,
		HostIP: "192.0.2.1", HostIPs: []v1.HostIP{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}},
		PodIP: "10.0.0.7", PodIPs: []v1.PodIP{{IP: "10.0.0.7"}},
		Conditions: []v1.PodCondition{
			on(v1.PodReadyToStartContainers), on(v1.PodInitialized), on(v1.PodReady), on(v1.ContainersReady), on(v1.PodScheduled),
		},
		ContainerStatuses: []v1.ContainerStatus{{
			Name: "a", State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: started}}, Ready: true, Started: new(true),
			Image: "img", ImageID: "sha256:1", ContainerID: "containerd://a-id",
			AllocatedResources: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")},
			Resources: &v1.ResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")},
				Limits:   v1.ResourceList{v1.ResourceCPU: resource.MustParse("1"), v1.ResourceMemory: resource.MustParse("2Gi")},
			},
			VolumeMounts: []v1.VolumeMountStatus{{Name: "v", MountPath: "/v", ReadOnly: true, RecursiveReadOnly: new(v1.RecursiveReadOnlyDisabled)}},
			User:         &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: 1, GID: 2, SupplementalGroups: []int64{3}}},
		}},
		AllocatedResources: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")},
		Resources:          p.Spec.Containers[0].Resources.DeepCopy(),
	}
	if diff := cmp.Diff(want, build(input(p, c))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBuild_TellsWhatOfAResizeIsStillToCome(t *testing.T) {
	p := testPod(v1.Container{Name: "a", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}}})
	c := running("a")
	c.Resources = &pod.Resources{CPUShares: 512}
	in := input(p, c)
	in.Desired.Resize = &pod.Reason{Reason: v1.PodReasonDeferred, Message: "no room"}
	in.Failures = pod.Failures{plan.Action{Kind: plan.PodResize}.Key(): {Text: "busy"}}
	s := status.Build(in, plan.Decision{Resizing: true}, status.HostInfo{})
	if c := condition(t, s, v1.PodResizePending); c.Reason != v1.PodReasonDeferred || c.Message != "no room" {
		t.Errorf("pending: %v", c)
	}
	if c := condition(t, s, v1.PodResizeInProgress); c.Reason != v1.PodReasonError || c.Message != "busy" {
		t.Errorf("in progress: %v", c)
	}
	if got := s.ContainerStatuses[0]; got.Resources.Requests.Cpu().String() != "500m" || got.AllocatedResources.Cpu().String() != "1" {
		t.Errorf("has %v of %v", got.Resources.Requests, got.AllocatedResources)
	}
	in.Desired.Resize, in.Failures, in.Record.Status = nil, nil, s
	for _, c := range status.Build(in, plan.Decision{}, status.HostInfo{}).Conditions {
		if c.Type == v1.PodResizePending || c.Type == v1.PodResizeInProgress {
			t.Errorf("%s stays when all is done", c.Type)
		}
	}
}

func TestBuild_ReportsWhyContainersWait(t *testing.T) {
	plain, withInit := testPod(v1.Container{Name: "a"}), testPod(v1.Container{Name: "a"})
	withInit.Spec.InitContainers = []v1.Container{{Name: "i"}}
	back := pod.Reason{Reason: "CrashLoopBackOff", Message: "back-off 10s"}
	for name, tt := range map[string]struct {
		pod      *v1.Pod
		waiting  map[string]pod.Reason
		observed []pod.Container
		want     v1.ContainerState
		last     *v1.ContainerStateTerminated
		phase    v1.PodPhase
	}{
		"creating":     {pod: plain, want: waits("ContainerCreating", ""), phase: v1.PodPending},
		"initializing": {pod: withInit, want: waits("PodInitializing", ""), phase: v1.PodPending},
		"image":        {pod: plain, waiting: map[string]pod.Reason{"a": {Reason: "ErrImagePull", Message: "no"}}, want: waits("ErrImagePull", "no"), phase: v1.PodPending},
		"crash loop": {
			pod: plain, waiting: map[string]pod.Reason{"a": back}, observed: []pod.Container{exited("a", 2, 1)}, phase: v1.PodRunning,
			want: waits("CrashLoopBackOff", "back-off 10s"), last: ended("a-dead", 1, "Error"),
		},
		"created and not started": {
			pod: plain, observed: []pod.Container{{ID: "new", Name: "a", State: pod.ContainerCreated}},
			want: waits("ContainerCreating", ""), phase: v1.PodPending,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := status.Build(input(tt.pod, tt.observed...), plan.Decision{Waiting: tt.waiting}, host)
			c := got.ContainerStatuses[0]
			if diff := cmp.Diff(tt.want, c.State); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.last, c.LastTerminationState.Terminated); diff != "" {
				t.Errorf("last state (-want +got):\n%s", diff)
			}
			if got.Phase != tt.phase || c.Ready || *c.Started {
				t.Errorf("phase %s, ready %v, started %v", got.Phase, c.Ready, *c.Started)
			}
		})
	}
}

func waits(reason, message string) v1.ContainerState {
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func ended(id string, code int32, reason string) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, ContainerID: "containerd://" + id, StartedAt: metav1.NewTime(epoch.Truncate(time.Second)),
		FinishedAt: metav1.NewTime(epoch.Add(time.Second).Truncate(time.Second)),
	}
}

// A new agent knows no verdict of any probe: what was reported of the same container holds until it does.
func TestBuild_FlipsNothingForWantOfAVerdict(t *testing.T) {
	probe := &v1.Probe{}
	for name, tt := range map[string]struct {
		health   pod.Probes
		prior    *v1.ContainerStatus
		ready    bool
		started  bool
		noProbes bool
	}{
		"new and unknown":                {},
		"new, without probes":            {noProbes: true, ready: true, started: true},
		"both succeed":                   {health: pod.Probes{Startup: pod.Success, Readiness: pod.Success}, ready: true, started: true},
		"startup is not through":         {health: pod.Probes{Readiness: pod.Success}},
		"readiness fails":                {health: pod.Probes{Startup: pod.Success, Readiness: pod.Failed}, started: true},
		"unknown, was ready":             {prior: &v1.ContainerStatus{ContainerID: "containerd://a-id", Ready: true, Started: new(true)}, ready: true, started: true},
		"unknown, was started":           {prior: &v1.ContainerStatus{ContainerID: "containerd://a-id", Started: new(true)}, started: true},
		"unknown, another one was ready": {prior: &v1.ContainerStatus{ContainerID: "containerd://other", Ready: true, Started: new(true)}},
		"fails, was ready": {
			health: pod.Probes{Readiness: pod.Failed}, started: true,
			prior: &v1.ContainerStatus{ContainerID: "containerd://a-id", Ready: true, Started: new(true)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := v1.Container{Name: "a"}
			if !tt.noProbes {
				c.StartupProbe, c.ReadinessProbe = probe, probe
			}
			in := input(testPod(c), running("a"))
			in.Health = pod.Health{"a-id": tt.health}
			if tt.prior != nil {
				tt.prior.Name = "a"
				in.Record.Status.ContainerStatuses = []v1.ContainerStatus{*tt.prior}
			}
			s := build(in)
			if got := s.ContainerStatuses[0]; got.Ready != tt.ready || *got.Started != tt.started {
				t.Errorf("ready %v, started %v; want %v, %v", got.Ready, *got.Started, tt.ready, tt.started)
			}
			c2 := condition(t, s, v1.ContainersReady)
			if (c2.Status == v1.ConditionTrue) != tt.ready {
				t.Errorf("%v", c2)
			}
			if !tt.ready && c2.Message != "containers with unready status: [a]" {
				t.Errorf("message %q", c2.Message)
			}
		})
	}
}

func TestBuild_TellsOfContainersThatAreGone(t *testing.T) {
	in := input(testPod(v1.Container{Name: "a"}))
	in.Record.Status.ContainerStatuses = []v1.ContainerStatus{{
		Name: "a", RestartCount: 4, ContainerID: "containerd://gone", Ready: true, Started: new(true),
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{}},
	}}
	c := build(in).ContainerStatuses[0]
	if s := c.State.Terminated; s == nil || s.Reason != "ContainerStatusUnknown" || s.ExitCode != 137 || c.RestartCount != 4 || c.Ready {
		t.Errorf("%+v", c)
	}
	in.Observed.Containers = []pod.Container{running("a")}
	in.Observed.Containers[0].Attempt = 5
	c = build(in).ContainerStatuses[0]
	if s := c.LastTerminationState.Terminated; c.State.Running == nil || s == nil || s.Reason != "ContainerStatusUnknown" || c.RestartCount != 5 {
		t.Errorf("%+v", c)
	}
}

func TestBuild_KeepsWhatHasEnded(t *testing.T) {
	in := input(testPod(v1.Container{Name: "a"}), exited("a", 0, 0))
	in.Record.Verdict = &pod.Verdict{Phase: v1.PodSucceeded}
	s := build(in)
	if s.Phase != v1.PodSucceeded || condition(t, s, v1.PodReady).Reason != "PodCompleted" || condition(t, s, v1.PodInitialized).Status != v1.ConditionTrue {
		t.Errorf("%+v", s)
	}
	in.Record.Status, in.Observed, in.Now = s, pod.Observed{}, in.Now.Add(time.Hour)
	later := build(in)
	for i, c := range later.Conditions {
		if c.Type == v1.PodReadyToStartContainers {
			later.Conditions[i] = s.Conditions[i] // its sandbox is gone
		}
	}
	if diff := cmp.Diff(s, later); diff != "" {
		t.Errorf("a pod that has ended changed when its containers were removed:\n%s", diff)
	}
	in.Record.Verdict = nil
	if got := build(in).Phase; got != v1.PodSucceeded {
		t.Errorf("the phase left Succeeded for %s", got)
	}
}

func TestBuild_IsStableOverARestartOfTheAgent(t *testing.T) {
	p := testPod(v1.Container{Name: "a"}, v1.Container{Name: "b", ReadinessProbe: &v1.Probe{}})
	in := input(p, running("a"), running("b"), exited("a", 0, 3))
	in.Observed.Containers[0].Attempt = 1
	in.Record.Status = build(in)
	b, err := json.Marshal(in.Record.Status)
	if err != nil {
		t.Fatal(err)
	}
	var read v1.PodStatus
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	want := in.Record.Status
	in.Record.Status, in.Now = read, in.Now.Add(time.Hour)
	if diff := cmp.Diff(want, build(in)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestBuild_MovesTransitionTimesOnlyWhenAConditionFlips(t *testing.T) {
	in := input(testPod(v1.Container{Name: "a", ReadinessProbe: &v1.Probe{}}), running("a"))
	in.Record.Status = build(in)
	before := in.Record.Status
	in.Now = in.Now.Add(time.Hour)
	in.Health = pod.Health{"a-id": {Readiness: pod.Success}}
	after := build(in)
	if got := condition(t, after, v1.PodReady); got.Status != v1.ConditionTrue || !got.LastTransitionTime.After(condition(t, before, v1.PodReady).LastTransitionTime.Time) {
		t.Errorf("Ready did not flip: %v", got)
	}
	for _, typ := range []v1.PodConditionType{v1.PodScheduled, v1.PodInitialized, v1.PodReadyToStartContainers} {
		if diff := cmp.Diff(condition(t, before, typ), condition(t, after, typ)); diff != "" {
			t.Errorf("%s moved: %s", typ, diff)
		}
	}
}

func TestBuild_HeedsReadinessGatesAndKeepsConditionsOfOthers(t *testing.T) {
	p := testPod(v1.Container{Name: "a"})
	p.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/lb"}}
	in := input(p, running("a"))
	c := condition(t, build(in), v1.PodReady)
	if c.Reason != "ReadinessGatesNotReady" || c.Message != `corresponding condition of pod readiness gate "example.com/lb" does not exist.` {
		t.Errorf("%v", c)
	}
	gate := v1.PodCondition{Type: "example.com/lb", Status: v1.ConditionTrue, Reason: "InService"}
	p.Status.Conditions = []v1.PodCondition{gate}
	s := build(in)
	if condition(t, s, v1.PodReady).Status != v1.ConditionTrue {
		t.Errorf("not ready with its gate open: %v", s.Conditions)
	}
	if diff := cmp.Diff(gate, condition(t, s, "example.com/lb")); diff != "" {
		t.Error(diff)
	}
}

func TestBuild_TellsThatTheNodeEndsAPod(t *testing.T) {
	in := input(testPod(v1.Container{Name: "a"}), exited("a", 0, 137))
	in.Record.Stop = &pod.Stop{Reason: "Evicted", Message: "low on memory", By: "eviction"}
	in.Record.Verdict = &pod.Verdict{Phase: v1.PodFailed, Reason: "Evicted", Message: "low on memory"}
	s := build(in)
	c := condition(t, s, v1.DisruptionTarget)
	if c.Status != v1.ConditionTrue || c.Reason != "TerminationByKubelet" || c.Message != "low on memory" {
		t.Errorf("%v", c)
	}
	if s.Phase != v1.PodFailed || s.Reason != "Evicted" || s.Message != "low on memory" {
		t.Errorf("phase %s, reason %s: %s", s.Phase, s.Reason, s.Message)
	}
}

// Why a pod ends is told when it has ended.
func TestBuild_APodThatRunsKeepsItsReason(t *testing.T) {
	for name, tt := range map[string]struct {
		prior, api, want v1.PodStatus
	}{
		"none":             {prior: v1.PodStatus{Phase: v1.PodRunning}},
		"as reported":      {prior: v1.PodStatus{Phase: v1.PodRunning, Reason: "R", Message: "m"}, want: v1.PodStatus{Reason: "R", Message: "m"}},
		"somebody else's":  {prior: v1.PodStatus{Phase: v1.PodRunning}, api: v1.PodStatus{Reason: "NodeLost", Message: "away"}, want: v1.PodStatus{Reason: "NodeLost", Message: "away"}},
		"of another phase": {prior: v1.PodStatus{Phase: v1.PodPending, Reason: "R", Message: "m"}, api: v1.PodStatus{Reason: "R"}},
	} {
		for _, reason := range []string{"DeadlineExceeded", "Evicted", "Terminated"} {
			in := input(testPod(v1.Container{Name: "a"}), running("a"))
			in.Record.Status, in.Desired.Pod.Status = tt.prior, tt.api
			in.Record.Stop = &pod.Stop{Reason: reason, Message: "why"}
			s := build(in)
			if s.Phase != v1.PodRunning || s.Reason != tt.want.Reason || s.Message != tt.want.Message {
				t.Errorf("%s, while it is stopped for %s: phase %s, reason %q: %q", name, reason, s.Phase, s.Reason, s.Message)
			}
			for _, c := range s.Conditions {
				if c.Type == v1.DisruptionTarget {
					t.Errorf("%s, while it is stopped for %s: %+v", name, reason, c)
				}
			}
		}
	}
}

func TestBuild_SaysOfNoEphemeralContainerThatItHasStarted(t *testing.T) {
	p := testPod(v1.Container{Name: "c"})
	p.Spec.EphemeralContainers = []v1.EphemeralContainer{
		{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "runs"}}, {EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "over"}},
		{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "waits"}},
	}
	for _, s := range build(input(p, running("c"), running("runs"), exited("over", 0, 3))).EphemeralContainerStatuses {
		if s.Started != nil {
			t.Errorf("%s: started is %v, a kubelet reports none", s.Name, *s.Started)
		}
	}
}

func TestBuild_KeepsAddresses(t *testing.T) {
	in := input(testPod(v1.Container{Name: "a"}), running("a"))
	in.Record.Status = build(in)
	in.Observed = pod.Observed{}
	s := status.Build(in, plan.Decision{}, status.HostInfo{})
	if s.PodIP != "10.0.0.7" || s.HostIP != "192.0.2.1" || len(s.HostIPs) != 2 {
		t.Errorf("pod %s, host %s", s.PodIP, s.HostIP)
	}
	in = input(testPod(v1.Container{Name: "a"}), running("a"))
	in.Desired.Pod.Spec.HostNetwork = true
	in.Observed.Sandboxes[0].IPs = nil
	if s := build(in); s.PodIP != "192.0.2.1" || condition(t, s, v1.PodReadyToStartContainers).Status != v1.ConditionTrue {
		t.Errorf("host network: %s, %v", s.PodIP, s.Conditions)
	}
}

func TestBuild_WaitsForInitContainersAndSidecars(t *testing.T) {
	p := testPod(v1.Container{Name: "a"})
	p.Spec.InitContainers = []v1.Container{
		{Name: "i"}, {Name: "s", RestartPolicy: new(v1.ContainerRestartPolicyAlways), StartupProbe: &v1.Probe{}},
	}
	in := input(p, running("s"), exited("i", 0, 0))
	s := build(in)
	c := condition(t, s, v1.PodInitialized)
	if s.Phase != v1.PodPending || c.Reason != "ContainersNotInitialized" || c.Message != "containers with incomplete status: [s]" {
		t.Errorf("phase %s, %v", s.Phase, c)
	}
	if !s.InitContainerStatuses[0].Ready || s.InitContainerStatuses[0].State.Terminated.Reason != "Completed" {
		t.Errorf("%+v", s.InitContainerStatuses[0])
	}
	in.Health = pod.Health{"s-id": {Startup: pod.Success}}
	in.Observed.Containers = append(in.Observed.Containers, running("a"))
	if s := build(in); s.Phase != v1.PodRunning || condition(t, s, v1.PodInitialized).Status != v1.ConditionTrue || condition(t, s, v1.PodReady).Status != v1.ConditionTrue {
		t.Errorf("phase %s, %v", s.Phase, s.Conditions)
	}
}

func BenchmarkBuild(b *testing.B) {
	in := input(testPod(v1.Container{Name: "a"}, v1.Container{Name: "b"}), running("a"), running("b"))
	in.Record.Status = build(in)
	b.ReportAllocs()
	for b.Loop() {
		build(in)
	}
}
