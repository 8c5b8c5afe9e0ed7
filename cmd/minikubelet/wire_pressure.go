package main

import (
	"context"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

// pressure is what keeps the node from running out of memory or disk.
type pressure struct {
	guard *eviction.Guard
	usage *stats.Source // measures what the guard and the meter tell
}

func (b base) newPressure(ctx context.Context, n nodeParts, l local, r reports) (p pressure, err error) {
	limits, err := evictionLimits(b.cfg.Eviction)
	if err != nil {
		return p, err
	}
	p.usage = stats.New(stats.Config{
		MemoryRoot: l.cgroups.RootDir("memory"), V2: l.cgroups.V2(), RootDir: b.cfg.Agent.Root, LogDir: b.cfg.Pods.LogDir,
		ImageDir: images.Dir(ctx, b.runtime), PodCgroup: l.cgroups.PodDir, Containers: b.containerUsage,
	})
	p.guard = eviction.New(eviction.Config{
		Limits: limits, Standalone: b.cfg.API.Kubeconfig == "", Stats: p.usage, Evicted: b.counters.Evicted,
		Changed: n.agent.Poke, Log: slog.Default(),
		Event: func(p *v1.Pod, typ, reason, message string) {
			if p == nil {
				r.events.NodeEvent(typ, reason, message)
				return
			}
			r.events.Event(p, "", typ, reason, message)
		},
	})
	return p, nil
}

func (b base) containerUsage(ctx context.Context) ([]stats.RuntimeUsage, error) {
	list, err := b.runtime.ListContainerStats(ctx, "")
	if err != nil {
		return nil, err
	}
	out := make([]stats.RuntimeUsage, 0, len(list))
	for _, s := range list {
		l := s.GetAttributes().GetLabels()
		out = append(out, stats.RuntimeUsage{
			Pod: types.UID(l[cri.LabelPodUID]), Container: l[cri.LabelContainerName],
			WorkingSet:     int64(s.GetMemory().GetWorkingSetBytes().GetValue()),
			Writable:       int64(s.GetWritableLayer().GetUsedBytes().GetValue()),
			WritableInodes: int64(s.GetWritableLayer().GetInodesUsed().GetValue()),
		})
	}
	return out, nil
}

func evictionLimits(e config.Eviction) (eviction.Limits, error) {
	thresholds, err := eviction.Parse(eviction.Settings{
		Hard: e.Hard, Soft: e.Soft, MinimumReclaim: e.MinimumReclaim, SoftGracePeriod: durations(e.SoftGrace),
	})
	return eviction.Limits{Thresholds: thresholds, Transition: e.Transition, MaxPodGrace: e.MaxPodGrace}, err
}

func durations(m map[string]time.Duration) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v.String()
	}
	return out
}
