package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Source names where a pod's specification comes from. It is the value of the annotation kubernetes.io/config.source.
type Source string

// The sources of pods.
const (
	SourceFile Source = "file"
	SourceHTTP Source = "http"
	SourceAPI  Source = "api"
)

// Annotations that a node agent sets on the pods that it runs, and that API servers and controllers read.
const (
	AnnotationSource = "kubernetes.io/config.source"
	AnnotationHash   = "kubernetes.io/config.hash"
	AnnotationSeen   = "kubernetes.io/config.seen"
	AnnotationMirror = "kubernetes.io/config.mirror"
)

// Desired is what one pod should be.
type Desired struct {
	Pod    *v1.Pod // merged specification; shared between goroutines and never changed
	Source Source
	Stop   *Stop   // nil: the pod should run
	Resize *Reason // why the resources that its source asks for wait, Deferred or Infeasible: Pod has those of before
}

// Stop orders a pod to end. It is never taken back; a second order can only make the first one stricter (see Stricter).
type Stop struct {
	Reason  string        // status.reason of the verdict: "", Evicted, DeadlineExceeded, Preempting, NodeShutdown, ...
	Message string        // status.message of the verdict
	Grace   time.Duration // from At to SIGKILL; zero kills at once
	At      time.Time     // when the grace period began
	By      string        // who ordered it: api, file, http, eviction, deadline, admission, orphan
	Remove  bool          // nothing of the pod stays on the node once it has stopped (it was deleted at its source)
}

// Deadline is the moment at which what still runs is killed.
func (s Stop) Deadline() time.Time { return s.At.Add(s.Grace) }

// Stricter merges a new order into an old one: the earlier deadline holds, a removal stays a removal and the first
// reason given is kept. Either may be nil.
func Stricter(old, order *Stop) *Stop {
	switch {
	case old == nil:
		return order
	case order == nil:
		return old
	}
	s := *old
	if order.Deadline().Before(s.Deadline()) {
		s.At, s.Grace = order.At, order.Grace
	}
	if s.Reason == "" {
		s.Reason, s.Message = order.Reason, order.Message
	}
	if order.Remove && !s.Remove {
		s.Remove, s.By = true, order.By
	}
	return &s
}
