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

// wireGuard makes what evicts pods before the node runs out of memory or disk.
func (a *agent) wireGuard(ctx context.Context) error {
	limits, err := evictionLimits(a.cfg.Eviction)
	if err != nil {
		return err
	}
	a.node.usage = stats.New(a.measured(ctx))
	a.node.guard = eviction.New(eviction.Config{
		Limits: limits, Reclaim: []func(context.Context) error{a.images.collector.Reclaim},
		Standalone: a.api.client == nil,
		Stats:      a.node.usage, Evicted: a.reports.counters.Evicted,
		Pods: a.pods.set, Changed: func() { a.node.agent.Poke() }, Log: slog.Default(),
		Event: func(p *v1.Pod, typ, reason, message string) {
			if p == nil {
				a.reports.events.NodeEvent(typ, reason, message)
				return
			}
			a.reports.events.Event(p, "", typ, reason, message)
		},
	})
	return nil
}

// measured says where usage is read from.
func (a *agent) measured(ctx context.Context) stats.Config {
	return stats.Config{
		MemoryRoot: a.local.cgroups.RootDir("memory"), V2: a.local.cgroups.V2(), RootDir: a.cfg.Agent.Root, LogDir: a.cfg.Pods.LogDir,
		ImageDir: images.Dir(ctx, a.runtime), PodCgroup: a.local.cgroups.PodDir, Containers: a.containerUsage,
	}
}

func (a *agent) containerUsage(ctx context.Context) ([]stats.RuntimeUsage, error) {
	list, err := a.runtime.ListContainerStats(ctx, "")
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
