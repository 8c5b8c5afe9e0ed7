package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
)

// adopt takes up the pods that the agent remembers. Those that run go on in any case; what autonomy does not allow to be
// started before the API server was heard waits for release.
func (a *agent) adopt(ctx context.Context, records map[types.UID]pod.Record) error {
	boxes, err := a.runtime.ListPodSandboxes(ctx, "")
	if err != nil {
		return err
	}
	running := map[types.UID]bool{}
	for _, b := range boxes {
		if b.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			running[types.UID(b.GetMetadata().GetUid())] = true
		}
	}
	mode := a.cfg.Agent.Autonomy
	if a.api.client == nil {
		mode = config.AutonomyAlways
	}
	now := maps.Clone(records)
	a.held = map[types.UID]pod.Record{}
	for uid, r := range records {
		if r.Source == pod.SourceAPI {
			a.reference(r.Pod) // also of those that wait: what they need is kept for them
		}
		if why := hold(mode, r, running[uid], a.lastTaints()); why != "" {
			slog.Info("a pod waits for the API server", "pod", pod.FullName(r.Pod), "uid", uid, "why", why)
			a.held[uid] = r
			delete(now, uid)
		}
	}
	a.set.Adopt(ctx, now)
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
func (a *agent) release(ctx context.Context, s sources.Set) {
	if !s.Complete[pod.SourceAPI] || a.released {
		return
	}
	a.released = true
	if len(a.held) > 0 {
		a.set.Adopt(ctx, a.held)
		a.held = nil
	}
}

// silent reports whether nothing may be started yet: autonomy is never, and the API server was not heard.
func (a *agent) silent(s sources.Set) bool {
	return a.api.client != nil && a.cfg.Agent.Autonomy == config.AutonomyNever && !s.Complete[pod.SourceAPI]
}

func (a *agent) taintsFile() string {
	return filepath.Join(a.cfg.Agent.Root, "minikubelet", "taints.json")
}

// lastTaints are the Node's as the API server told them last.
func (a *agent) lastTaints() (taints []v1.Taint) {
	b, err := os.ReadFile(a.taintsFile())
	if err == nil {
		err = json.Unmarshal(b, &taints)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("cannot read the node's last known taints", "err", err)
	}
	return taints
}

// keepTaints writes the Node's taints down when they are not what was written.
func (a *agent) keepTaints() {
	select {
	case <-a.node.Known():
	default:
		return // what is known is not the API server's word
	}
	a.tainting.Lock() // changes are told by several goroutines
	defer a.tainting.Unlock()
	now, err := json.Marshal(a.node.Node().Spec.Taints)
	if err != nil {
		return
	}
	if old, err := os.ReadFile(a.taintsFile()); err == nil && string(old) == string(now) {
		return
	}
	if err := atomicfile.Write(a.taintsFile(), now, 0o600, atomicfile.None); err != nil {
		slog.Warn("cannot write the node's taints down", "err", err)
	}
}
