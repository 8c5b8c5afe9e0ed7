package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

// Resized compares the cgroup values that the runtime reports for a running container with what its specification gives it
// (KEP-1287), and tells whether the container wants to be started again for that, by its resizePolicy. A limit that the
// specification has not may be there: none is ever taken from a container that runs. A runtime that reports nothing cannot
// be held to anything.
func Resized(p *v1.Pod, role pod.Role, c *v1.Container, has *pod.Resources, cfs resources.CFS) (differs, restart bool) {
	if role == pod.Ephemeral || has == nil {
		return false, false
	}
	want := resources.ContainerCgroup(p, c.Resources, cfs, resources.Capacity{})
	cpu := want.CPUShares != has.CPUShares || want.CPUQuota > 0 && want.CPUQuota != has.CPUQuota
	memory := want.Memory > 0 && want.Memory != has.MemoryLimit
	for _, policy := range c.ResizePolicy {
		changed := policy.ResourceName == v1.ResourceCPU && cpu || policy.ResourceName == v1.ResourceMemory && memory
		restart = restart || role != pod.Init && changed && policy.RestartPolicy == v1.RestartContainer
	}
	return cpu || memory, restart
}

// resized looks at pods alone whose specification was changed: a runtime may have adjusted what the others were given.
func (p *pass) resized(v *view) (differs, restart bool) {
	if p.spec.Generation < 2 || v.state != pod.Running || !v.here {
		return false, false
	}
	return Resized(p.spec, v.role, v.spec, v.c.Resources, p.in.CFS)
}

// resize gives what runs the resources of the specification: the pod's own cgroup, and containers in place. One that is to
// be started again for it gets them with its next start, for which the pod's cgroup makes room beforehand. After a failure
// it goes on until it succeeds, as the pod's cgroup is set last.
func (p *pass) resize() {
	a := Action{Kind: PodResize}
	_, due := p.in.Failures[a.Key()]
	p.d.Resizing = due
	for i := range p.views {
		v := &p.views[i]
		differs, restart := p.resized(v)
		if !differs {
			continue
		}
		due = due || !restart || !p.flying(Action{Kind: ContainerStop, ID: v.c.ID}.Key())
		p.d.Resizing = true
	}
	if due {
		p.do(a)
	}
}
