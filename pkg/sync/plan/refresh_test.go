package plan_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func TestNext_BringsVolumesUpToDateWhenTheyAreDue(t *testing.T) {
	p := testPod(v1.RestartPolicyAlways, "a")
	p.Spec.Volumes = []v1.Volume{{Name: "v"}, {Name: "fixed"}}
	running := []pod.Container{{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning, StartedAt: epoch}}
	deleted := &pod.Stop{By: string(pod.SourceAPI), At: epoch, Grace: 30 * time.Second, Remove: true}
	due := pod.Mount{Ready: true, Due: epoch, Turn: 3}
	for name, tt := range map[string]struct {
		mount      pod.Mount
		stop       *pod.Stop
		containers []pod.Container
		failed     time.Time
		want       bool
		wake       time.Duration
	}{
		"due":                          {mount: due, containers: running, want: true},
		"later":                        {mount: pod.Mount{Ready: true, Due: epoch.Add(5 * time.Second)}, containers: running, wake: 5 * time.Second},
		"not mounted yet":              {mount: pod.Mount{Due: epoch}, containers: running},
		"it never changes":             {mount: pod.Mount{Ready: true}, containers: running},
		"the pod ends":                 {mount: due, containers: running, stop: deleted, want: true},
		"nothing of the pod runs":      {mount: due, stop: deleted},
		"it has failed":                {mount: due, containers: running, failed: epoch.Add(-20 * time.Second), wake: 40 * time.Second},
		"it has failed a minute since": {mount: due, containers: running, failed: epoch.Add(-time.Minute), want: true},
	} {
		in := plan.Input{Desired: pod.Desired{Pod: p, Stop: tt.stop}, Now: epoch}
		in.Observed = pod.Observed{
			Sandboxes: []pod.Sandbox{{ID: "s", Ready: true}}, Containers: tt.containers, Cgroup: true, Dir: true,
			Mounts: map[string]pod.Mount{"v": tt.mount, "fixed": {Ready: true}},
		}
		want := plan.Action{Kind: plan.VolumeRefresh, Name: "v", Attempt: tt.mount.Turn}
		if !tt.failed.IsZero() {
			in.Failures = pod.Failures{want.Key(): {Count: 7, Last: tt.failed}}
		}
		d, got := plan.Next(in), false
		for _, a := range d.Actions {
			if a.Kind == plan.VolumeRefresh && a != want {
				t.Errorf("%s: does %+v", name, a)
			}
			got = got || a == want
		}
		if got != tt.want {
			t.Errorf("%s: refreshed %t, want %t", name, got, tt.want)
		}
		if tt.wake > 0 && !d.WakeAt.Equal(epoch.Add(tt.wake)) {
			t.Errorf("%s: wakes in %s, want %s", name, d.WakeAt.Sub(epoch), tt.wake)
		}
	}
}
