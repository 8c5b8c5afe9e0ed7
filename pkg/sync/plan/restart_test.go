package plan_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func runs(name string) pod.Container {
	return pod.Container{ID: name + "0", Name: name, SandboxID: "s", State: pod.ContainerRunning, StartedAt: epoch}
}

// Events of a stop are in a kubelet's words: people and alerts look for them.
func TestNext_NamesWhyAContainerIsStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		health       pod.Probes
		change       func(*pod.Container)
		main, second string // of a main container, of a sidecar
	}{
		"startup": {
			health: pod.Probes{Startup: pod.Failed},
			main:   "Container a failed startup probe, will be restarted", second: "Init container s failed startup probe",
		},
		"liveness": {
			health: pod.Probes{Startup: pod.Success, Liveness: pod.Failed},
			main:   "Container a failed liveness probe, will be restarted", second: "Init container s failed liveness probe",
		},
		"changed": {
			change: func(c *pod.Container) { c.Hash = "other" },
			main:   "Container a definition changed, will be restarted", second: "Init container s definition changed",
		},
		"unknown": {
			change: func(c *pod.Container) { c.State = pod.ContainerUnknown },
			main:   `Container is in "unknown" state, try killing it before restart`,
			second: `Init container is in "unknown" state, try killing it before restart`,
		},
		"resized": {
			change: func(c *pod.Container) { c.Resources = &pod.Resources{CPUShares: 2, MemoryLimit: 1 << 20} },
			main:   "Container a resize requires restart", second: "Container s resize requires restart",
		},
	} {
		for container, want := range map[string]string{"a": tt.main, "s": tt.second} {
			p := testPod(v1.RestartPolicyAlways, "a")
			p.Spec.InitContainers = []v1.Container{{Name: "s", Image: "x", RestartPolicy: new(v1.ContainerRestartPolicyAlways)}}
			p.Generation = 2
			for _, c := range []*v1.Container{&p.Spec.Containers[0], &p.Spec.InitContainers[0]} {
				c.ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: v1.ResourceMemory, RestartPolicy: v1.RestartContainer}}
				c.Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")}
			}
			in := standing(p, runs("a"), runs("s"))
			c := in.Observed.Container(container)
			if tt.change != nil {
				tt.change(c)
			}
			in.Health = pod.Health{c.ID: tt.health}
			var got string
			for _, a := range plan.Next(in).Actions {
				if a.Kind == plan.ContainerStop && a.Name == container {
					got = a.Reason
				}
			}
			if got != want {
				t.Errorf("%s: container %s is stopped for %q, want %q", name, container, got, want)
			}
		}
	}
}
