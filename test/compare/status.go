package compare

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// seen is what the API server told of a pod, in its order: each status that differs from the one before, and its events.
type seen struct {
	statuses []v1.PodStatus // from the first to the last before the pod was gone
	settled  v1.PodStatus   // when the case was over, before the pod was deleted
	pod      v1.Pod         // the last
	events   []v1.Event
	before   int       // how many of the events came before the pod was deleted
	changed  time.Time // the last status, or the first event of a reason
	gone     bool
}

func (s *seen) lines() (l Lines, err error) {
	if err := l.addJSON("status", s.settled); err != nil {
		return nil, err
	}
	if n := len(s.statuses); n > 0 {
		if err := l.addJSON("status at the end", atTheEnd(s.statuses[n-1])); err != nil {
			return nil, err
		}
	}
	for what, steps := range s.ways() {
		l.add("status way "+what, strings.Join(steps, " > "))
	}
	for i, e := range s.events {
		if forgotten.MatchString(e.Message) || i >= s.before && e.Reason == "Unhealthy" { // whether a probe meets a container that is being stopped is chance
			continue
		}
		what := e.InvolvedObject.FieldPath
		if what == "" {
			what = "pod"
		}
		l.add(fmt.Sprintf("event %s %s %s by %s %s", what, e.Type, e.Reason, e.Source.Component, e.ReportingController), e.Message)
	}
	return l, nil
}

// forgotten is what a kubelet says when it mounts a volume once more and has let go of the pod's objects already, which is chance.
var forgotten = regexp.MustCompile(`object "[^"]*"/"[^"]*" not registered`)

// atTheEnd leaves out what an agent may say of a pod that is on its way out or not: conditions, and what it asks the runtime or reads
// from cgroups that may be gone.
func atTheEnd(s v1.PodStatus) *v1.PodStatus {
	last := s.DeepCopy()
	last.Conditions, last.Resources = nil, nil
	for _, list := range [][]v1.ContainerStatus{last.InitContainerStatuses, last.ContainerStatuses, last.EphemeralContainerStatuses} {
		for i := range list {
			list[i].User = nil
		}
	}
	return last
}

// ways are the steps that the phase, each condition and each container took until the case was over. A step that a quick agent may
// never show is none: that a container is being created, and false conditions on the way to true ones.
func (s *seen) ways() map[string][]string {
	ways := map[string][]string{}
	step := func(what, to string) {
		if w := ways[what]; len(w) == 0 || w[len(w)-1] != to {
			ways[what] = append(w, to)
		}
	}
	for _, st := range s.statuses {
		step("phase", string(st.Phase)+reason(st.Reason, st.Message))
		for _, list := range [][]v1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses} {
			for _, c := range list {
				if now := state(c.State); now != "" {
					step("container "+c.Name, now)
				}
			}
		}
	}
	return ways
}

func state(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("terminated %d", s.Terminated.ExitCode) + reason(s.Terminated.Reason, s.Terminated.Message)
	case s.Waiting == nil || s.Waiting.Reason == "ContainerCreating" || s.Waiting.Reason == "PodInitializing":
		return ""
	}
	return "waiting" + reason(s.Waiting.Reason, s.Waiting.Message)
}

func reason(reason, message string) string {
	s := ""
	if reason != "" {
		s += " " + reason
	}
	if message != "" {
		s += " " + message
	}
	return s
}

// rest is how long nothing changes when a status is settled. A pod that has ended has its sandbox stopped, which may be later.
func rest(st v1.PodStatus) time.Duration {
	if ended(st) && is(st, v1.PodReadyToStartContainers) {
		return 4 * quiet
	}
	return quiet
}

// settled reports whether a case is over, which is when its pod is ready or has ended, or what it names: "running", "ended", "waiting
// Reason" of a container, "event Reason".
func settled(until string, st v1.PodStatus, events []v1.Event) bool {
	if st.StartTime == nil { // the node has said nothing yet
		return false
	}
	what, name, _ := strings.Cut(until, " ")
	switch what {
	case "running":
		return st.Phase == v1.PodRunning
	case "ended":
		return ended(st)
	case "waiting": // the sandbox may come later than the reason
		if !is(st, v1.PodReadyToStartContainers) {
			return false
		}
		for _, c := range append(st.InitContainerStatuses, st.ContainerStatuses...) {
			if w := c.State.Waiting; w != nil && w.Reason == name {
				return true
			}
		}
		return false
	case "event":
		for _, e := range events {
			if e.Reason == name {
				return true
			}
		}
		return false
	}
	return ended(st) || is(st, v1.PodReady)
}

func is(st v1.PodStatus, condition v1.PodConditionType) bool {
	return slices.ContainsFunc(st.Conditions, func(c v1.PodCondition) bool { return c.Type == condition && c.Status == v1.ConditionTrue })
}

func ended(st v1.PodStatus) bool { return st.Phase == v1.PodSucceeded || st.Phase == v1.PodFailed }
