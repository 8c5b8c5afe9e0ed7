package loop

import (
	"log/slog"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// allocate gives a pod the resources that its source asks for when the node has them. Until then it keeps those that it
// has, which its record outlives the agent with, and it is asked again whenever the pods of the node change.
func (s *Set) allocate(e *entry, d pod.Desired) pod.Desired {
	old := e.loop.desired.Load()
	if old.Pod == d.Pod || !asksAnew(old.Pod, d.Pod) {
		return d
	}
	others := slices.DeleteFunc(s.live(), func(p *v1.Pod) bool { return p.UID == d.Pod.UID })
	d.Resize = s.resize(others, d.Pod)
	switch {
	case d.Resize == nil:
		return d
	case old.Resize != nil && *old.Resize == *d.Resize && old.Pod.ResourceVersion == d.Pod.ResourceVersion:
		return pod.Desired{Pod: old.Pod, Source: d.Source, Resize: old.Resize}
	case old.Resize == nil || old.Resize.Reason != d.Resize.Reason:
		slog.Warn("a pod keeps the resources that it has", "pod", pod.FullName(d.Pod), "uid", d.Pod.UID, "reason", d.Resize.Reason, "message", d.Resize.Message)
		s.cfg.Event(d.Pod, "", v1.EventTypeWarning, "Resize"+d.Resize.Reason, d.Resize.Message)
	}
	d.Pod = d.Pod.DeepCopy()
	d.Pod.Spec.Resources = old.Pod.Spec.Resources
	for _, c := range containers(d.Pod) {
		if was, _ := pod.SpecOf(old.Pod, c.Name); was != nil {
			c.Resources = was.Resources
		}
	}
	return d
}

// asksAnew reports whether a specification has other resources than the one before.
func asksAnew(old, p *v1.Pod) bool {
	if !equality.Semantic.DeepEqual(old.Spec.Resources, p.Spec.Resources) {
		return true
	}
	return slices.ContainsFunc(containers(p), func(c *v1.Container) bool {
		was, _ := pod.SpecOf(old, c.Name)
		return was != nil && !equality.Semantic.DeepEqual(was.Resources, c.Resources)
	})
}

// containers are those whose resources may change, of the pod itself.
func containers(p *v1.Pod) []*v1.Container {
	var all []*v1.Container
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}
