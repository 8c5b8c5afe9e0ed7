package metrics

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
	Count *Agent
}

// Event counts what says that a container has started as a start, too.
func (c CountedEvents) Event(p *v1.Pod, container, typ, reason, message string) {
	c.To.Event(p, container, typ, reason, message)
	c.Count.Event(typ, reason)
	if reason != "Started" || container == "" {
		return
	}
	kind := "container"
	switch _, role := pod.SpecOf(p, container); role {
	case pod.Init, pod.Sidecar:
		kind = "init_container"
	case pod.Ephemeral:
		kind = "ephemeral_container"
	}
	c.Count.Started(kind)
}
