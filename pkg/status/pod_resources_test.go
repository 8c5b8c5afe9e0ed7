package status_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

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
		"nothing asked":        {containers: []v1.ResourceRequirements{{}}},
		"containers alone":     {containers: []v1.ResourceRequirements{need(list("100m", "1Mi"), list("1", "2Mi")), need(list("150m", ""), list("1", "2Mi"))}, allocated: list("250m", "1Mi"), want: need(list("250m", "1Mi"), list("2", "4Mi"))},
		"one has no limit":     {containers: []v1.ResourceRequirements{need(list("100m", ""), list("1", "2Mi")), {}}, allocated: list("100m", ""), want: need(list("100m", ""), nil)},
		"the pod's own":        {level: new(need(list("1", "64Mi"), list("2", "64Mi"))), containers: []v1.ResourceRequirements{{}}, allocated: list("1", "64Mi"), want: need(list("1", "64Mi"), list("2", "64Mi"))},
		"the least of the CPU": {containers: []v1.ResourceRequirements{need(list("1m", ""), nil)}, allocated: list("1m", "")},
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
