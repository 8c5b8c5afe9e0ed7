package feed

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
)

// Sandboxes lists them, of all pods for "".
type Sandboxes interface {
	ListPodSandboxes(ctx context.Context, uid string) ([]*runtimeapi.PodSandbox, error)
}

// Adopt takes up the pods that the agent remembers. Those that run go on in any case; what autonomy does not allow to be
// started before the API server was heard waits for release.
func (f *Feed) Adopt(ctx context.Context, records map[types.UID]pod.Record) error {
	boxes, err := f.cfg.Runtime.ListPodSandboxes(ctx, "")
	if err != nil {
		return err
	}
	running := map[types.UID]bool{}
	for _, b := range boxes {
		if b.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			running[types.UID(b.GetMetadata().GetUid())] = true
		}
	}
	mode := f.cfg.Autonomy
	if f.cfg.API == nil {
		mode = config.AutonomyAlways
	}
	now := maps.Clone(records)
	f.held = map[types.UID]pod.Record{}
	for uid, r := range records {
		if r.Source == pod.SourceAPI {
			f.reference(r.Pod) // also of those that wait: what they need is kept for them
		}
		if why := hold(mode, r, running[uid], f.cfg.Taints.last()); why != "" {
			slog.Info("a pod waits for the API server", "pod", pod.FullName(r.Pod), "uid", uid, "why", why)
			f.held[uid] = r
			delete(now, uid)
		}
	}
	f.cfg.Set.Adopt(ctx, now)
	return nil
}

// hold tells why a pod that the agent remembers must not be started before the API server was heard; "" when it may.
func hold(mode string, r pod.Record, running bool, taints []v1.Taint) string {
	switch {
	case running, r.Stop != nil, r.Verdict != nil:
		return ""
	case mode == config.AutonomyNever:
		return "autonomy is never"
	case r.Source != pod.SourceAPI:
		return ""
	case mode == config.AutonomyStaticOnly:
		return "autonomy is static-only"
	case r.Pod.DeletionTimestamp != nil:
		return "it was being deleted"
	}
	for _, t := range taints {
		if t.Effect != v1.TaintEffectNoExecute {
			continue
		}
		if !slices.ContainsFunc(r.Pod.Spec.Tolerations, func(o v1.Toleration) bool {
			return o.TolerationSeconds == nil && o.ToleratesTaint(klog.Logger{}, &t, false)
		}) {
			return "the node had the taint " + t.ToString() + ", which it does not tolerate for ever"
		}
	}
	return ""
}

// release adopts what waited, once the API server was heard.
func (f *Feed) release(ctx context.Context, s sources.Set) {
	if !s.Complete[pod.SourceAPI] || f.released {
		return
	}
	f.released = true
	if len(f.held) > 0 {
		f.cfg.Set.Adopt(ctx, f.held)
		f.held = nil
	}
}

// silent reports whether nothing may be started yet: autonomy is never, and the API server was not heard.
func (f *Feed) silent(s sources.Set) bool {
	return f.cfg.API != nil && f.cfg.Autonomy == config.AutonomyNever && !s.Complete[pod.SourceAPI]
}
