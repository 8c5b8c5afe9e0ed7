package status_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

// What the kernel cannot hold is not told: the specification's value stands for it.
func TestBuild_ReportsTheLeastLimitOfAContainerAsItIsAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		asked  string
		quota  int64
		period int64
		want   string
	}{
		"the kernel's least":      {"1m", 1000, 100000, "1m"},
		"more than that":          {"1m", 2000, 100000, "20m"},
		"less than is asked":      {"100m", 1000, 100000, "10m"},
		"the least of its period": {"5m", 1000, 1000000, "5m"},
	} {
		limits := v1.ResourceList{v1.ResourceCPU: resource.MustParse(tt.asked)}
		c := running("a")
		c.Resources = &pod.Resources{CPUQuota: tt.quota, CPUPeriod: tt.period}
		s := build(input(testPod(v1.Container{Name: "a", Resources: v1.ResourceRequirements{Limits: limits}}), c))
		if got := s.ContainerStatuses[0].Resources.Limits.Cpu().String(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestBuild_ReportsTheResourcesOfAPodThatRuns(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		l := v1.ResourceList{}
		for name, q := range map[v1.ResourceName]string{v1.ResourceCPU: cpu, v1.ResourceMemory: memory} {
			if q != "" {
				l[name] = resource.MustParse(q)
			}
		}
		if len(l) == 0 {
			return nil
		}
		return l
	}
	need := func(requests, limits v1.ResourceList) v1.ResourceRequirements {
		return v1.ResourceRequirements{Requests: requests, Limits: limits}
	}
	for name, tt := range map[string]struct {
		level      *v1.ResourceRequirements
		containers []v1.ResourceRequirements
		allocated  v1.ResourceList
		want       v1.ResourceRequirements
	}{
		"nothing asked":                   {containers: []v1.ResourceRequirements{{}}},
		"containers alone":                {containers: []v1.ResourceRequirements{need(list("100m", "1Mi"), list("1", "2Mi")), need(list("150m", ""), list("1", "2Mi"))}, allocated: list("250m", "1Mi"), want: need(list("250m", "1Mi"), list("2", "4Mi"))},
		"one has no limit":                {containers: []v1.ResourceRequirements{need(list("100m", ""), list("1", "2Mi")), {}}, allocated: list("100m", ""), want: need(list("100m", ""), list("1", "2Mi"))},
		"the pod's own and a container's": {level: new(need(list("1", "64Mi"), list("2", ""))), containers: []v1.ResourceRequirements{need(nil, list("1", "2Mi")), {}}, allocated: list("1", "64Mi"), want: need(list("1", "64Mi"), list("2", "2Mi"))},
		"the pod's own":                   {level: new(need(list("1", "64Mi"), list("2", "64Mi"))), containers: []v1.ResourceRequirements{{}}, allocated: list("1", "64Mi"), want: need(list("1", "64Mi"), list("2", "64Mi"))},
		"the least of the CPU":            {containers: []v1.ResourceRequirements{need(list("1m", ""), nil)}, allocated: list("1m", "")},
		"the least limit":                 {containers: []v1.ResourceRequirements{need(list("1m", ""), list("1m", ""))}, allocated: list("1m", ""), want: need(nil, list("1m", ""))},
		"the pod's least":                 {level: new(need(list("1m", ""), list("1m", ""))), containers: []v1.ResourceRequirements{{}}, allocated: list("1m", ""), want: need(list("1m", ""), list("1m", ""))},
		"a bit more":                      {level: new(need(list("11m", ""), list("11m", ""))), containers: []v1.ResourceRequirements{{}}, allocated: list("11m", ""), want: need(list("11m", ""), list("11m", ""))},
	} {
		p := testPod()
		var all []string
		for i, r := range tt.containers {
			c := v1.Container{Name: string(rune('a' + i)), Image: "img", Resources: r}
			p.Spec.Containers = append(p.Spec.Containers, c)
			all = append(all, c.Name)
		}
		p.Spec.Resources = tt.level
		in := input(p)
		for _, name := range all {
			in.Observed.Containers = append(in.Observed.Containers, running(name))
		}
		in.CFS = resources.CFS{Quota: true}
		in.Record.Status.Phase = v1.PodRunning
		s := build(in)
		if d := cmp.Diff(tt.allocated, s.AllocatedResources); d != "" {
			t.Errorf("%s: allocated: %s", name, d)
		}
		if d := cmp.Diff(tt.want, *s.Resources); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
