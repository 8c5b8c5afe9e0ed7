package activity

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Teller takes events about pods; typ is Normal or Warning.
type Teller interface {
	Event(p *v1.Pod, container, typ, reason, message string)
}

// CountedEvents tells events on, and counts them.
type CountedEvents struct {
	To    Teller
	Count *Counters
}

// Event counts what says that a container has started as a start, too.
func (c CountedEvents) Event(p *v1.Pod, container, typ, reason, message string) {
	c.To.Event(p, container, typ, reason, message)
	c.Count.event(typ, reason)
	if reason != "Started" || container == "" {
		return
	}
	c.Count.started(typeOf(p, container))
}

// typeOf is a container's type as monitoring has it.
func typeOf(p *v1.Pod, container string) string {
	switch _, role := pod.SpecOf(p, container); role {
	case pod.Init, pod.Sidecar:
		return "init_container"
	case pod.Ephemeral:
		return "ephemeral_container"
	}
	return "container"
}
