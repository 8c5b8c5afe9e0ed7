package status

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// own are the conditions that a node agent sets; all others are preserved.
var own = [...]v1.PodConditionType{
	v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled, v1.DisruptionTarget,
	v1.AllContainersRestarting, v1.PodResizePending, v1.PodResizeInProgress,
}

// Own reports whether conditions of a type are set by the node agent; the others are of whoever sets them.
func Own(t v1.PodConditionType) bool { return slices.Contains(own[:], t) }

func (b *build) conditions() {
	containers := b.containersReady()
	b.set(v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: is(b.networked())})
	b.set(b.initializedCondition())
	b.set(b.readyCondition(containers))
	b.set(containers)
	b.set(v1.PodCondition{Type: v1.PodScheduled, Status: v1.ConditionTrue})
	if c, ok := b.disruption(); ok {
		b.set(c)
	}
	if c, ok := b.restarting(); ok {
		b.set(c)
	}
	b.resize()
	b.others()
}

// others keeps the conditions that are not the node's.
func (b *build) others() {
	for _, from := range [...][]v1.PodCondition{b.in.Desired.Pod.Status.Conditions, b.prior.Conditions} {
		for _, c := range from {
			known := slices.ContainsFunc(b.s.Conditions, func(k v1.PodCondition) bool { return k.Type == c.Type })
			if !known && (!Own(c.Type) || c.Type == v1.DisruptionTarget) {
				b.s.Conditions = append(b.s.Conditions, c)
			}
		}
	}
}

// resize tells what of a change of the pod's resources is still to come (KEP-1287).
func (b *build) resize() {
	if why := b.in.Desired.Resize; why != nil {
		b.set(v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: why.Reason, Message: why.Message})
	}
	if !b.d.Resizing {
		return
	}
	c := v1.PodCondition{Type: v1.PodResizeInProgress, Status: v1.ConditionTrue}
	if f, failed := b.in.Failures[plan.Action{Kind: plan.PodResize}.Key()]; failed {
		c.Reason, c.Message = v1.PodReasonError, f.Text
	}
	b.set(c)
}

// set adds a condition. Its transition time is that of the report before unless its status flips. A kubelet gives
// AllContainersRestarting alone no generation.
func (b *build) set(c v1.PodCondition) {
	if c.Type != v1.AllContainersRestarting {
		c.ObservedGeneration = b.in.Desired.Pod.Generation
	}
	c.LastTransitionTime = stamp(b.in.Now)
	if old := b.before(c.Type); old != nil && old.Status == c.Status && !old.LastTransitionTime.IsZero() {
		c.LastTransitionTime = old.LastTransitionTime
	}
	b.s.Conditions = append(b.s.Conditions, c)
}

// before finds a condition as it was reported last, here or by whoever scheduled the pod.
func (b *build) before(t v1.PodConditionType) *v1.PodCondition {
	for _, from := range [...][]v1.PodCondition{b.prior.Conditions, b.in.Desired.Pod.Status.Conditions} {
		if i := slices.IndexFunc(from, func(c v1.PodCondition) bool { return c.Type == t }); i >= 0 {
			return &from[i]
		}
	}
	return nil
}

func is(ok bool) v1.ConditionStatus {
	if ok {
		return v1.ConditionTrue
	}
	return v1.ConditionFalse
}

// networked reports whether the sandbox stands and has its network.
func (b *build) networked() bool {
	box := b.in.Observed.Sandbox()
	return box != nil && box.Ready && (b.in.Desired.Pod.Spec.HostNetwork || len(box.IPs) > 0)
}

func (b *build) initializedCondition() v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionTrue}
	if b.s.Phase == v1.PodSucceeded {
		c.Reason = "PodCompleted"
		return c
	}
	if b.initialized() {
		return c
	}
	var waiting []string
	for role, c := range pod.Spec(b.in.Desired.Pod) {
		s := pod.StatusOf(&b.s, c.Name)
		if role == pod.Sidecar && !*s.Started || role == pod.Init && !s.Ready {
			waiting = append(waiting, c.Name)
		}
	}
	c.Status, c.Reason = v1.ConditionFalse, "ContainersNotInitialized"
	c.Message = fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(waiting, " "))
	return c
}

// containersReady looks at the main containers and the sidecars.
func (b *build) containersReady() v1.PodCondition {
	c := v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionTrue}
	switch b.s.Phase {
	case v1.PodSucceeded:
		c.Status, c.Reason = v1.ConditionFalse, "PodCompleted"
		return c
	case v1.PodFailed:
		c.Status, c.Reason = v1.ConditionFalse, "PodFailed"
		return c
	}
	var unready []string
	for role, c := range pod.Spec(b.in.Desired.Pod) {
		if (role == pod.Sidecar || role == pod.Main) && !pod.StatusOf(&b.s, c.Name).Ready {
			unready = append(unready, c.Name)
		}
	}
	switch {
	case len(b.in.Desired.Pod.Spec.Containers) == 0:
		c.Status, c.Reason = v1.ConditionFalse, "UnknownContainerStatuses"
	case len(unready) > 0:
		c.Status, c.Reason = v1.ConditionFalse, "ContainersNotReady"
		c.Message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	return c
}

// readyCondition adds the readiness gates to what the containers say (KEP-580).
func (b *build) readyCondition(containers v1.PodCondition) v1.PodCondition {
	c := containers
	c.Type = v1.PodReady
	if c.Status != v1.ConditionTrue {
		return c
	}
	var missing []string
	for _, gate := range b.in.Desired.Pod.Spec.ReadinessGates {
		from := b.in.Desired.Pod.Status.Conditions
		i := slices.IndexFunc(from, func(k v1.PodCondition) bool { return k.Type == gate.ConditionType })
		switch {
		case i < 0:
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case from[i].Status != v1.ConditionTrue:
			missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not %q, but %v", gate.ConditionType, "True", from[i].Status))
		}
	}
	if len(missing) > 0 {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(missing, ", ")
	}
	return c
}

// restarting tells whether all containers are being restarted because one asked for it (KEP-5532). A pod whose containers
// have no such rule does not have the condition.
func (b *build) restarting() (v1.PodCondition, bool) {
	c := v1.PodCondition{Type: v1.AllContainersRestarting, Status: v1.ConditionFalse}
	switch {
	case b.s.Phase == v1.PodSucceeded:
		c.Reason = "PodCompleted"
	case b.s.Phase == v1.PodFailed:
		c.Reason = "PodFailed"
	case b.d.Record.Restart != nil:
		c.Status, c.Reason, c.Message = v1.ConditionTrue, "RestartAllContainersStarted", "container exited with restart policy rule"
	}
	for _, spec := range pod.Spec(b.in.Desired.Pod) {
		for _, r := range spec.RestartPolicyRules {
			if r.Action == v1.ContainerRestartRuleActionRestartAllContainers {
				return c, true
			}
		}
	}
	return c, false
}

// disruption tells controllers that the node, not the pod, is why it has ended (KEP-3329).
func (b *build) disruption() (v1.PodCondition, bool) {
	reason, message := "", ""
	if s := b.d.Record.Stop; s != nil && b.d.Record.Verdict != nil {
		reason, message = s.Reason, s.Message
	}
	switch reason {
	case "Evicted", "Preempting", "NodeShutdown", "Terminated":
		return v1.PodCondition{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonTerminationByKubelet, Message: message,
		}, true
	}
	return v1.PodCondition{}, false
}
