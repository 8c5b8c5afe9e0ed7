package life

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// remember is what the record learns from the end of an action. Postponed facts cannot be seen on the node: that a hook
// has ended, and that a sandbox's network was released.
func remember(r pod.Record, end Result) pod.Record {
	a := end.Action
	switch a.Kind {
	case plan.PostStart, plan.PreStop:
		h := r.Hooks[a.ID]
		if a.Kind == plan.PostStart {
			h.PostStart = hookState(end)
		} else {
			h.PreStop = hookState(end)
		}
		r.Hooks = maps.Clone(r.Hooks)
		if r.Hooks == nil {
			r.Hooks = map[string]pod.Hooks{}
		}
		r.Hooks[a.ID] = h
	case plan.SandboxStop:
		if end.Err == nil {
			r.Released = append(r.Released[:len(r.Released):len(r.Released)], a.ID)
		}
	}
	return r
}

func hookState(end Result) pod.HookState {
	switch {
	case end.Err == nil:
		return pod.HookDone
	case end.Canceled:
		return pod.HookBegun
	}
	return pod.HookFailed
}

// withoutMemory keeps the actions that destroy no evidence: a container may always be stopped, and a pod that is to
// leave the node may be torn down, which is also what gives the disk its space back.
func withoutMemory(actions []plan.Action, stop *pod.Stop) []plan.Action {
	var kept []plan.Action
	for _, a := range actions {
		switch a.Kind {
		case plan.ContainerStop, plan.PreStop:
			kept = append(kept, a)
		case plan.CgroupCreate, plan.VolumeMount, plan.VolumeRefresh, plan.ImagePull, plan.ImageLook, plan.SandboxCreate,
			plan.ContainerStart, plan.PostStart, plan.PodResize:
		default:
			if stop != nil && stop.Remove {
				kept = append(kept, a)
			}
		}
	}
	return kept
}

// sameRecord reports whether two records would be the same file, or as good as.
func sameRecord(a, b pod.Record) bool {
	return a.Pod == b.Pod && a.Source == b.Source && sameValue(a.Stop, b.Stop) && sameValue(a.Verdict, b.Verdict) &&
		sameValue(a.Restart, b.Restart) && maps.Equal(a.Attempts, b.Attempts) && maps.Equal(a.Backoff, b.Backoff) &&
		maps.Equal(a.Hooks, b.Hooks) && slices.Equal(a.Released, b.Released) && sameStatus(a.Status, b.Status)
}

// sameStatus also holds for two of a pod none of whose containers has run: all that is lost with the second can be seen
// again, and a pod on its way up is not written down at each step.
func sameStatus(a, b v1.PodStatus) bool {
	return nothingRan(a) && nothingRan(b) || apiequality.Semantic.DeepEqual(a, b)
}

func nothingRan(s v1.PodStatus) bool {
	for c := range pod.Statuses(&s) {
		if c.State.Waiting == nil || c.LastTerminationState.Terminated != nil || c.RestartCount > 0 {
			return false
		}
	}
	return s.Phase == v1.PodPending
}

func sameValue[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
