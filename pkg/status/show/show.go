// Package show says in a few words how a pod is: for tables and lines that people read. It is pure, decides nothing, and
// nothing may be decided from it. The local API and the commands use it.
package show

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Counts are the containers of a pod that are ready, all that should be, and how often they were started again.
func Counts(p *v1.Pod) (ready, total int, restarts int32) {
	for _, c := range p.Status.ContainerStatuses {
		if c.Ready {
			ready++
		}
		restarts += c.RestartCount
	}
	return ready, len(p.Spec.Containers), restarts
}

// Age counts from the pod's creation, or from its start where the source knows no creation.
func Age(p *v1.Pod, now time.Time) string {
	t := p.CreationTimestamp
	if t.IsZero() && p.Status.StartTime != nil {
		t = *p.Status.StartTime
	}
	if t.IsZero() {
		return "-"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// State is one word for where a pod is: its phase, or the reason that says more.
func State(p *v1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "Terminating"
	}
	if p.Status.Reason != "" {
		return p.Status.Reason
	}
	state := string(p.Status.Phase)
	switch p.Status.Phase {
	case v1.PodSucceeded:
		return "Completed"
	case v1.PodFailed:
		state = "Error"
	}
	for i, c := range p.Status.InitContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			return "Init:" + w.Reason
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return "Init:" + t.Reason
		}
		started := c.State.Running != nil && c.Started != nil && *c.Started
		if c.State.Terminated == nil && !started {
			return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return w.Reason
		}
		if t := c.State.Terminated; t != nil && t.Reason != "" {
			state = t.Reason
		}
	}
	return state
}

// WaitsFor says what keeps a pod from being ready, in one line; "" when nothing does.
func WaitsFor(p *v1.Pod) string {
	if pod.IsOver(p) {
		return ""
	}
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if w := c.State.Waiting; w != nil && w.Message != "" {
				return Clip(c.Name + ": " + w.Message)
			}
		}
	}
	for _, c := range p.Status.InitContainerStatuses {
		if c.State.Running != nil && (c.Started == nil || !*c.Started) {
			return "init container " + c.Name
		}
	}
	var unready []string
	for _, c := range p.Status.ContainerStatuses {
		if !c.Ready && c.State.Running != nil {
			unready = append(unready, c.Name)
		}
	}
	if len(unready) > 0 {
		return "probes of " + strings.Join(unready, ", ")
	}
	if p.Status.PodIP == "" && p.Status.Phase != v1.PodRunning {
		return "sandbox"
	}
	return ""
}

const maxCell = 80

// Clip makes one line of a text, at most 80 bytes long.
func Clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxCell {
		return strings.ToValidUTF8(s[:maxCell-3], "") + "..."
	}
	return s
}
