package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func TestNext_GivesWhatRunsTheResourcesOfItsSpecification(t *testing.T) {
	resize := plan.Action{Kind: plan.PodResize}
	restart := func(name v1.ResourceName) []v1.ContainerResizePolicy {
		return []v1.ContainerResizePolicy{{ResourceName: name, RestartPolicy: v1.RestartContainer}}
	}
	right := pod.Resources{CPUShares: 512, CPUQuota: 100_000, CPUPeriod: 100_000, MemoryLimit: 64 << 20}
	less, small := right, right
	less.CPUShares, small.MemoryLimit = 256, 32<<20
	for name, tt := range map[string]struct {
		has      *pod.Resources
		policy   []v1.ContainerResizePolicy
		failed   bool
		flying   bool // the stop of the container
		want     []plan.Kind
		resizing bool

		generation int64 // 0 stands for that of a pod that was changed
	}{
		"it has them":                        {has: &right},
		"another CPU weight":                 {has: &less, want: []plan.Kind{plan.PodResize}, resizing: true},
		"another memory limit":               {has: &small, want: []plan.Kind{plan.PodResize}, resizing: true},
		"in place as the other one restarts": {has: &less, policy: restart("memory"), want: []plan.Kind{plan.PodResize}, resizing: true},
		"started again, after room was made": {has: &small, policy: restart("memory"), want: []plan.Kind{plan.ContainerStop, plan.PodResize}, resizing: true},
		"while it is being stopped":          {has: &small, policy: restart("memory"), flying: true, resizing: true},
		"after a failure, the pod's are due": {has: &right, failed: true, want: []plan.Kind{plan.PodResize}, resizing: true},
		"a runtime that does not tell":       {},
		"a pod that was never changed":       {has: &less, generation: 1},
	} {
		p := testPod(v1.RestartPolicyAlways, "a")
		p.Generation = tt.generation
		if p.Generation == 0 {
			p.Generation = 2
		}
		c := &p.Spec.Containers[0]
		c.ResizePolicy = tt.policy
		c.Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("1Mi")}
		c.Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1"), v1.ResourceMemory: resource.MustParse("64Mi")}
		in := standing(p, pod.Container{ID: "a0", Name: "a", SandboxID: "s", State: pod.ContainerRunning, StartedAt: epoch, Resources: tt.has})
		in.CFS = resources.CFS{Quota: true}
		if tt.failed {
			in.Failures = pod.Failures{resize.Key(): {Count: 1, Last: epoch, Text: "no"}}
		}
		if tt.flying {
			in.InFlight = []plan.Action{{Kind: plan.ContainerStop, Name: "a", ID: "a0"}}
			in.Record.Attempts = map[string]uint32{"a": 2}
		}
		d := plan.Next(in)
		var got []plan.Kind
		for _, a := range d.Actions {
			if a.Kind != plan.ImagePull { // for the next attempt
				got = append(got, a.Kind)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || d.Resizing != tt.resizing {
			t.Errorf("%s: resizing %v, (-want +got):\n%s", name, d.Resizing, diff)
		}
	}
}

func TestCanceled_APodThatEndsIsNotResized(t *testing.T) {
	in := plan.Input{Desired: pod.Desired{Pod: testPod(v1.RestartPolicyAlways, "a"), Stop: &pod.Stop{By: "api", At: epoch}}, Now: epoch}
	if got := plan.Canceled([]plan.Action{{Kind: plan.PodResize}}, in); len(got) != 1 {
		t.Errorf("canceled %v", got)
	}
}
