package pod

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"iter"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Role says which list of the specification a container stands in.
type Role int

// The roles, in the order in which containers start.
const (
	Init Role = iota
	Sidecar
	Main
	Ephemeral
)

// Spec yields every container of a pod in spec order: init containers and sidecars, main containers, ephemeral ones. The
// values are the specification's own: read only.
func Spec(p *v1.Pod) iter.Seq2[Role, *v1.Container] {
	return func(yield func(Role, *v1.Container) bool) {
		for i := range p.Spec.InitContainers {
			c := &p.Spec.InitContainers[i]
			role := Init
			if IsSidecar(c) {
				role = Sidecar
			}
			if !yield(role, c) {
				return
			}
		}
		for i := range p.Spec.Containers {
			if !yield(Main, &p.Spec.Containers[i]) {
				return
			}
		}
		for i := range p.Spec.EphemeralContainers {
			c := v1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
			if !yield(Ephemeral, &c) {
				return
			}
		}
	}
}

// IsSidecar reports whether an init container is restartable (KEP-753).
func IsSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// SpecOf returns the specification of a container by name and its role, or nil.
func SpecOf(p *v1.Pod, name string) (*v1.Container, Role) {
	for role, c := range Spec(p) {
		if c.Name == name {
			return c, role
		}
	}
	return nil, Main
}

// ContainerHash identifies what of a container's specification needs a new container when it changes: its name and image. It is
// kept in the annotation io.kubernetes.container.hash, and is what a kubelet keeps there: either takes over the other's containers.
func ContainerHash(c *v1.Container) string {
	of, _ := json.Marshal(struct { // strings can always be written
		Image string `json:"image"`
		Name  string `json:"name"`
	}{c.Image, c.Name})
	text := append(make([]byte, 0, 12+4*len(of)), "([]uint8)["...)
	for i, b := range of {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendUint(text, uint64(b), 10)
	}
	return fnv32(append(text, ']'))
}

func fnv32(text []byte) string {
	h := fnv.New32a()
	_, _ = h.Write(text) // a hash takes everything
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// MadeFrom reports whether a container with such a hash was made from a specification. What agents wrote until December 2026
// holds too, so that a newer one restarts no container.
func MadeFrom(hash string, c *v1.Container) bool {
	return hash == ContainerHash(c) || hash == fnv32([]byte(c.Name+"\x00"+c.Image))
}

// GracePeriod is the pod's own grace period: 30 s unless the specification says otherwise, and 1 s where that is negative, as
// API servers read it.
func GracePeriod(p *v1.Pod) time.Duration {
	seconds := cmp.Or(p.DeletionGracePeriodSeconds, p.Spec.TerminationGracePeriodSeconds)
	switch {
	case seconds == nil:
		return 30 * time.Second
	case *seconds < 0:
		return time.Second
	}
	return Seconds(*seconds)
}

// FullName is namespace/name, as people write it.
func FullName(p *v1.Pod) string { return p.Namespace + "/" + p.Name }

// IsOver reports whether a pod has ended for good, as its status tells it.
func IsOver(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
}

// IsStatic reports whether a pod comes from this node and not from the API server.
func IsStatic(p *v1.Pod) bool {
	s := Source(p.Annotations[AnnotationSource])
	return s == SourceFile || s == SourceHTTP
}

// IsMirror reports whether a pod is the API server's image of a static pod.
func IsMirror(p *v1.Pod) bool { _, ok := p.Annotations[AnnotationMirror]; return ok }

// CriticalPriority is the lowest priority of a critical pod (system-cluster-critical).
const CriticalPriority = 2_000_000_000

// IsCritical reports whether a pod is never evicted and starts first: static and mirror pods, and those of critical
// priority.
func IsCritical(p *v1.Pod) bool {
	return IsStatic(p) || IsMirror(p) || p.Spec.Priority != nil && *p.Spec.Priority >= CriticalPriority
}
