package plan_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testPod(policy v1.RestartPolicy, names ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
	p.Spec.RestartPolicy = policy
	for _, n := range names {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: n, Image: "x"})
	}
	return p
}

// standing is the input of a pod whose sandbox stands, with containers in it.
func standing(p *v1.Pod, containers ...pod.Container) plan.Input {
	in := plan.Input{Desired: pod.Desired{Pod: p}, Now: epoch.Add(time.Hour)}
	in.Observed = pod.Observed{
		Sandboxes: []pod.Sandbox{{ID: "s", Ready: true}}, Containers: containers, Cgroup: true, Dir: true,
		Images: map[string]pod.Image{},
	}
	return in
}

func exited(name string, attempt uint32, code int32) pod.Container {
	return pod.Container{
		ID: fmt.Sprint(name, attempt), Name: name, SandboxID: "s", Attempt: attempt, State: pod.ContainerExited,
		ExitCode: code, StartedAt: epoch, FinishedAt: epoch.Add(time.Second),
	}
}

func TestNext_NumbersTheNextAttempt(t *testing.T) {
	ran := func(count int32, id string) v1.PodStatus {
		return v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "a", RestartCount: count, ContainerID: id}}}
	}
	for name, tt := range map[string]struct {
		observed []pod.Container
		attempts map[string]uint32
		status   v1.PodStatus
		want     uint32
	}{
		"the first":                               {want: 0},
		"after the newest that ran":               {observed: []pod.Container{exited("a", 4, 1), exited("a", 3, 1)}, want: 5},
		"again, when it was begun and never ran":  {attempts: map[string]uint32{"a": 4}, observed: []pod.Container{exited("a", 2, 1)}, want: 3},
		"after the one reported, when it is gone": {status: ran(6, "containerd://gone"), want: 7},
		"as reported, when that one never ran":    {status: ran(6, ""), want: 6},
		"after the newest, not the one reported":  {status: ran(6, "containerd://a6"), observed: []pod.Container{exited("a", 7, 1)}, want: 8},
	} {
		t.Run(name, func(t *testing.T) {
			in := standing(testPod(v1.RestartPolicyAlways, "a"), tt.observed...)
			in.Record = pod.Record{Attempts: tt.attempts, Status: tt.status}
			in.Observed.Images["a"] = pod.Image{Ref: "x", ID: "i", Attempt: tt.want}
			d := plan.Next(in)
			for _, a := range d.Actions {
				if a.Kind == plan.ContainerStart && a.Attempt == tt.want {
					return
				}
			}
			t.Errorf("no start as attempt %d in %v", tt.want, d.Actions)
		})
	}
}

func TestNext_RestartsByPolicy(t *testing.T) {
	rule := v1.ContainerRestartRule{
		Action:    v1.ContainerRestartRuleActionRestart,
		ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}},
	}
	for _, tt := range []struct {
		pod   v1.RestartPolicy
		own   *v1.ContainerRestartPolicy
		rules []v1.ContainerRestartRule
		exit  int32
		want  v1.PodPhase // of the verdict; "": it restarts
	}{
		{pod: v1.RestartPolicyAlways, exit: 0},
		{pod: v1.RestartPolicyAlways, exit: 1},
		{pod: v1.RestartPolicyOnFailure, exit: 1},
		{pod: v1.RestartPolicyOnFailure, exit: 0, want: v1.PodSucceeded},
		{pod: v1.RestartPolicyNever, exit: 0, want: v1.PodSucceeded},
		{pod: v1.RestartPolicyNever, exit: 1, want: v1.PodFailed},
		{pod: v1.RestartPolicyNever, own: new(v1.ContainerRestartPolicyOnFailure), exit: 1},
		{pod: v1.RestartPolicyAlways, own: new(v1.ContainerRestartPolicyNever), exit: 1, want: v1.PodFailed},
		{pod: v1.RestartPolicyNever, own: new(v1.ContainerRestartPolicyNever), rules: []v1.ContainerRestartRule{rule}, exit: 42},
		{pod: v1.RestartPolicyNever, own: new(v1.ContainerRestartPolicyNever), rules: []v1.ContainerRestartRule{rule}, exit: 41, want: v1.PodFailed},
	} {
		p := testPod(tt.pod, "a")
		p.Spec.Containers[0].RestartPolicy, p.Spec.Containers[0].RestartPolicyRules = tt.own, tt.rules
		d := plan.Next(standing(p, exited("a", 0, tt.exit)))
		got := v1.PodPhase("")
		if d.Verdict != nil {
			got = d.Verdict.Phase
		}
		if got != tt.want {
			t.Errorf("policy %s, own %v, exit %d: verdict %q, want %q", tt.pod, tt.own, tt.exit, got, tt.want)
		}
	}
}

func TestNext_RetriesFailuresWithBackoffThatIsBounded(t *testing.T) {
	for kind, tt := range map[plan.Kind]struct{ first, limit, ago time.Duration }{
		plan.CgroupCreate:  {time.Second, 30 * time.Second, 0},
		plan.ImagePull:     {10 * time.Second, 300 * time.Second, 2 * time.Second},
		plan.VolumeUnmount: {500 * time.Millisecond, 10 * time.Second, 0},
	} {
		p := testPod(v1.RestartPolicyAlways, "a")
		for count, want := range map[int]time.Duration{1: tt.first, 2: 2 * tt.first, 3: 4 * tt.first, 1000: tt.limit} {
			in := plan.Input{Desired: pod.Desired{Pod: p}, Now: epoch}
			key := plan.Action{Kind: kind, Name: "a", Image: "x"}.Key()
			switch kind {
			case plan.VolumeUnmount:
				in.Record.Stop = &pod.Stop{By: "api", At: epoch, Remove: true}
				in.Observed.Mounts = map[string]pod.Mount{"a": {Ready: true}}
			case plan.CgroupCreate:
				in.Observed.Images = map[string]pod.Image{"a": {Ref: "x"}}
			}
			in.Failures = pod.Failures{key: {Count: count, Last: epoch.Add(-tt.ago), Text: "no"}}
			d := plan.Next(in)
			for _, a := range d.Actions {
				if a.Key() == key {
					t.Errorf("%s is tried again at once", key)
				}
			}
			if got := d.WakeAt.Sub(epoch) + tt.ago; got != want {
				t.Errorf("%s after %d failures waits %s, want %s", key, count, got, want)
			}
		}
	}
}

func TestCanceled(t *testing.T) {
	now := epoch
	stopping := func(grace time.Duration) plan.Action {
		return plan.Action{Kind: plan.ContainerStop, Name: "a", ID: "a0", Deadline: now.Add(grace)}
	}
	p := testPod(v1.RestartPolicyAlways, "a")
	order := &pod.Stop{By: "api", At: now, Grace: 10 * time.Second}
	over := &pod.Stop{By: "api", At: now.Add(-20 * time.Second), Grace: 10 * time.Second}
	for name, tt := range map[string]struct {
		stop *pod.Stop
		in   plan.Action
		want bool
	}{
		"nothing without an order":              {in: plan.Action{Kind: plan.ImagePull, Name: "a", Image: "x"}},
		"a pull of what is no longer named":     {in: plan.Action{Kind: plan.ImagePull, Name: "a", Image: "y"}, want: true},
		"a pull":                                {stop: order, in: plan.Action{Kind: plan.ImagePull, Name: "a", Image: "x"}, want: true},
		"a look for an image":                   {stop: order, in: plan.Action{Kind: plan.ImageLook, Name: "a", Image: "x", For: plan.ImagePull}, want: true},
		"a mount":                               {stop: order, in: plan.Action{Kind: plan.VolumeMount, Name: "v"}, want: true},
		"a sandbox that is made":                {stop: order, in: plan.Action{Kind: plan.SandboxCreate}, want: true},
		"a hook":                                {stop: order, in: plan.Action{Kind: plan.PostStart, ID: "a0"}, want: true},
		"no start: its outcome must be known":   {stop: order, in: plan.Action{Kind: plan.ContainerStart, Name: "a"}},
		"a stop that would take longer":         {stop: order, in: stopping(30 * time.Second), want: true},
		"no stop that is as quick":              {stop: order, in: stopping(10 * time.Second)},
		"no stop that is quicker":               {stop: order, in: stopping(time.Second)},
		"a stop when the time is over":          {stop: over, in: stopping(30 * time.Second), want: true},
		"no last moment, however late it began": {stop: over, in: stopping(plan.LastMoment)},
		"no teardown, which is what is ordered": {stop: order, in: plan.Action{Kind: plan.SandboxStop, ID: "s"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := plan.Input{Desired: pod.Desired{Pod: p, Stop: tt.stop}, Now: now}
			got := plan.Canceled([]plan.Action{tt.in}, in)
			if (len(got) == 1) != tt.want {
				t.Errorf("canceled %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNext_SyncsOrdersThatCannotBeSeenAgain(t *testing.T) {
	for by, want := range map[string]bool{"api": false, "eviction": true, "file": true} {
		in := standing(testPod(v1.RestartPolicyAlways, "a"), pod.Container{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning})
		in.Desired.Stop = &pod.Stop{By: by, At: in.Now, Grace: time.Second}
		d := plan.Next(in)
		if d.Sync != want || d.Record.Stop == nil {
			t.Errorf("by %s: sync %v, want %v", by, d.Sync, want)
		}
		in.Record = d.Record
		if plan.Next(in).Sync {
			t.Errorf("by %s: synced again though nothing changed", by)
		}
	}
}

func TestNext_NeverStartsWhatHasAVerdict(t *testing.T) {
	in := standing(testPod(v1.RestartPolicyAlways, "a"), pod.Container{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning})
	in.Record.Verdict = &pod.Verdict{Phase: v1.PodFailed, Reason: "OutOfcpu"}
	for _, observed := range []pod.Observed{{}, {Cgroup: true, Dir: true}, in.Observed} {
		in.Observed = observed
		for _, a := range plan.Next(in).Actions {
			switch a.Kind {
			case plan.ContainerStop, plan.CgroupRemove:
			default:
				t.Errorf("%v is planned for a pod that was refused", a)
			}
		}
	}
}

func TestNext_ChangesNothingThatItWasGiven(t *testing.T) {
	p := testPod(v1.RestartPolicyAlways, "a", "b")
	p.Spec.Containers[1].Lifecycle = &v1.Lifecycle{PostStart: &v1.LifecycleHandler{}}
	in := standing(p, exited("a", 1, 1), exited("a", 0, 1), pod.Container{ID: "b0", Name: "b", SandboxID: "s", State: pod.ContainerRunning})
	in.Record = pod.Record{
		Attempts: map[string]uint32{"a": 2}, Backoff: map[string]time.Duration{"a": 0},
		Hooks: map[string]pod.Hooks{"gone": {}}, Released: []string{"gone"},
	}
	before, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	d := plan.Next(in)
	after, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
	want := pod.Record{
		Pod: p, Attempts: map[string]uint32{"a": 3}, Backoff: map[string]time.Duration{"a": 10 * time.Second},
		Hooks: map[string]pod.Hooks{"b0": {PostStart: pod.HookBegun}}, Released: []string{},
	}
	if diff := cmp.Diff(want, d.Record); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(d, plan.Next(in)); diff != "" {
		t.Errorf("two decisions on one input differ:\n%s", diff)
	}
}

// A record that was lost must not run hooks a second time in containers that the API server knows to have started.
func TestNext_RunsNoHookOfAContainerThatWasReportedAsStarted(t *testing.T) {
	p := testPod(v1.RestartPolicyAlways, "a")
	p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PostStart: &v1.LifecycleHandler{}}
	in := standing(p, pod.Container{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning})
	for id, want := range map[string]pod.HookState{"a0": pod.HookDone, "other": pod.HookBegun} {
		in.Record.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "a", ContainerID: "containerd://" + id, Started: new(true)}}
		d := plan.Next(in)
		if got := d.Record.Hooks["a0"].PostStart; got != want || (len(d.Actions) == 0) != (want == pod.HookDone) {
			t.Errorf("with %s reported: hook %s, actions %v", id, got, d.Actions)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	p := testPod(v1.RestartPolicyAlways, "a", "b", "c")
	p.Spec.Volumes = []v1.Volume{{Name: "v"}}
	p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "v"}}
	var containers []pod.Container
	for _, c := range p.Spec.Containers {
		containers = append(containers, pod.Container{
			ID: c.Name, Name: c.Name, SandboxID: "s", State: pod.ContainerRunning, Hash: pod.ContainerHash(&c),
		})
	}
	in := standing(p, containers...)
	in.Observed.Mounts = map[string]pod.Mount{"v": {Ready: true}}
	b.Run("running", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plan.Next(in)
		}
	})
	start := plan.Input{Desired: in.Desired, Now: in.Now}
	b.Run("starting", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plan.Next(start)
		}
	})
}

// A clock that is set back by days must not hold a container down for days.
func TestNext_RestartsAtOnceWhenTheExitLiesAhead(t *testing.T) {
	p := testPod(v1.RestartPolicyAlways, "a")
	in := standing(p, exited("a", 3, 1))
	in.Record.Backoff = map[string]time.Duration{"a": 40 * time.Second}
	in.Record.Attempts = map[string]uint32{"a": 4}
	in.Observed.Images["a"] = pod.Image{Ref: "x", Attempt: 4}
	for name, tt := range map[string]struct {
		now  time.Time
		want []plan.Action
	}{
		"in time":     {now: epoch.Add(30 * time.Second)},
		"when due":    {now: epoch.Add(2 * time.Minute), want: []plan.Action{{Kind: plan.ContainerStart, Name: "a", Attempt: 4}}},
		"long before": {now: epoch.Add(-48 * time.Hour), want: []plan.Action{{Kind: plan.ContainerStart, Name: "a", Attempt: 4}}},
		"long after":  {now: epoch.Add(48 * time.Hour), want: []plan.Action{{Kind: plan.ContainerStart, Name: "a", Attempt: 4}}},
	} {
		in.Now = tt.now
		if diff := cmp.Diff(tt.want, plan.Next(in).Actions); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// What a late runtime has made again of a cgroup limits nothing, and has to go all the same.
func TestNext_RemovesWhatIsLeftOfACgroup(t *testing.T) {
	in := plan.Input{
		Desired: pod.Desired{Pod: &v1.Pod{}, Stop: &pod.Stop{Remove: true}}, Observed: pod.Observed{CgroupLeft: true}, Now: epoch,
	}
	d := plan.Next(in)
	if d.Done || len(d.Actions) != 1 || d.Actions[0].Kind != plan.CgroupRemove {
		t.Errorf("done %v, actions %v", d.Done, d.Actions)
	}
	if in.Observed.CgroupLeft = false; !plan.Next(in).Done {
		t.Error("it is not done when nothing is left")
	}
}

// Numbers of seconds that a duration cannot hold are long times, not ones that are over.
func TestNext_CenturiesDoNotOverflow(t *testing.T) {
	const centuries = 10000000000
	running := pod.Container{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning, StartedAt: epoch}
	hooked := func(change func(*v1.Pod, *v1.Container)) plan.Input {
		p := testPod(v1.RestartPolicyAlways, "a")
		p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: centuries}}}
		change(p, &p.Spec.Containers[0])
		return standing(p, running)
	}
	probe := &v1.Probe{TerminationGracePeriodSeconds: new(int64(centuries))}
	for name, in := range map[string]plan.Input{
		"terminationGracePeriodSeconds": func() plan.Input {
			in := hooked(func(p *v1.Pod, _ *v1.Container) { p.Spec.TerminationGracePeriodSeconds = new(int64(centuries)) })
			in.Desired.Stop = &pod.Stop{Grace: pod.GracePeriod(in.Desired.Pod), At: in.Now, By: "file"}
			return in
		}(),
		"of a liveness probe": func() plan.Input {
			in := hooked(func(_ *v1.Pod, c *v1.Container) { c.LivenessProbe = probe })
			in.Health = pod.Health{"a0": {Liveness: pod.Failed}}
			return in
		}(),
		"of a startup probe": func() plan.Input {
			in := hooked(func(_ *v1.Pod, c *v1.Container) { c.StartupProbe = probe })
			in.Health = pod.Health{"a0": {Startup: pod.Failed}}
			return in
		}(),
	} {
		d := plan.Next(in)
		if len(d.Actions) != 1 || d.Actions[0].Kind != plan.ContainerStop || !d.Actions[0].PreStop || d.Actions[0].Deadline.Sub(in.Now) != pod.Longest {
			t.Errorf("%s: %+v", name, d.Actions)
		}
	}
	in := hooked(func(p *v1.Pod, _ *v1.Container) { p.Spec.ActiveDeadlineSeconds = new(int64(centuries)) })
	if d := plan.Next(in); d.Record.Stop != nil {
		t.Errorf("activeDeadlineSeconds: the pod is ended: %+v", d.Record.Stop)
	}
}

func TestNext_EndsAPodThatOthersCalledEnded(t *testing.T) {
	p := testPod(v1.RestartPolicyAlways, "a")
	p.Status.Phase = v1.PodSucceeded
	in := standing(p, pod.Container{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning})
	in.Desired.Source = pod.SourceFile
	if s := plan.Next(in).Record.Stop; s != nil {
		t.Errorf("the phase of a mirror pod stops a static pod: %+v", s)
	}
	in.Desired.Source = pod.SourceAPI
	d := plan.Next(in)
	if s := d.Record.Stop; s == nil || s.Remove || s.Grace != pod.GracePeriod(p) || !s.At.Equal(in.Now) || !d.Sync {
		t.Errorf("the order is %+v, synced %v", s, d.Sync)
	}
	in.Record, in.Observed.Containers = d.Record, []pod.Container{exited("a", 0, 137)}
	if v := plan.Next(in).Record.Verdict; v == nil || v.Phase != v1.PodSucceeded {
		t.Errorf("the verdict is %+v", v)
	}
}
