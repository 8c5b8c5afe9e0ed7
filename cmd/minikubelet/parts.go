package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/footprint"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/upkeep"
)

// parts are what runs for as long as the agent does. Each returns nil when the context ends.
func (a *agent) parts() []func(context.Context) error {
	quiet := func(f func(context.Context)) func(context.Context) error {
		return func(ctx context.Context) error {
			f(ctx)
			return nil
		}
	}
	all := []func(context.Context) error{
		a.takeUpPods, a.local.csi.Run, quiet(a.reports.events.Run), quiet(a.reports.writer.Run), quiet(a.node.agent.Run), quiet(a.node.guard.Run),
		quiet(a.upkeep.refresher.Run), quiet(a.upkeep.refresher.RunWanted), quiet(a.upkeep.sweeper.Run),
		quiet(func(ctx context.Context) {
			cri.NewWatcher(a.runtime, slog.Default()).Watch(ctx, func(uid string, at time.Time) { a.pods.set.Changed(types.UID(uid), at) })
		}),
		quiet(func(ctx context.Context) { a.node.monitor.Run(ctx, a.node.agent.Poke) }),
		a.preload,
		quiet(func(ctx context.Context) { footprint.Run(ctx, slog.Default()) }),
		quiet(a.upkeep.rotator.Run), quiet(a.images.collector.Run), quiet(a.reports.meter.RunClaims),
	}
	if a.api.objects != nil {
		all = append(all, quiet(a.api.objects.Run), quiet(a.api.services.Run), quiet(a.follower().Run))
	}
	for _, r := range []*certs.Rotation{a.api.rotation, a.api.serving} {
		if r != nil {
			all = append(all, quiet(r.Run))
		}
	}
	if network := a.network.node; network != nil {
		all = append(all, a.serveNetwork, quiet(func(ctx context.Context) { upkeep.ReleaseNetworks(ctx, network, a.runtime) }))
	}
	return all
}

// takeUpPods takes up what the agent remembers and then what the sources say. Archives of images come first: a pod that finds
// its image missing would wait out a backoff.
func (a *agent) takeUpPods(ctx context.Context) error {
	if err := a.images.preloader.Pass(ctx); err != nil && ctx.Err() == nil {
		slog.Error("cannot preload every image archive", "err", err)
	}
	close(a.images.preloaded)
	records, err := a.pods.store.Load()
	if err != nil {
		return err
	}
	if err := a.pods.feed.Adopt(ctx, records); err != nil {
		return err
	}
	a.reports.events.NodeEvent(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	return a.pods.feed.Run(ctx)
}

// preload goes on with what appears later. A preloader is used by one goroutine at a time.
func (a *agent) preload(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.images.preloaded:
		return a.images.preloader.Run(ctx)
	}
}

// runningContainer finds the container that writes a log, for its rotation.
func (a *agent) runningContainer(ctx context.Context, podUID, container string, attempt uint32) (string, error) {
	_, containers, err := a.pods.observer.Runtime(ctx, types.UID(podUID))
	if err != nil {
		return "", err
	}
	for _, c := range containers {
		if c.Name == container && c.Attempt == attempt && c.State == pod.ContainerRunning {
			return c.ID, nil
		}
	}
	return "", nil
}

// wireGuard makes what evicts pods before the node runs out of memory or disk.
func (a *agent) wireGuard(ctx context.Context) error {
	limits, err := evictionLimits(a.cfg.Eviction)
	if err != nil {
		return err
	}
	a.node.guard = eviction.New(eviction.Config{
		Limits: limits, Reclaim: []func(context.Context) error{a.images.collector.Reclaim},
		Standalone: a.api.client == nil,
		Stats:      stats.New(a.measured(ctx)),
		Pods:       a.pods.set, Changed: func() { a.node.agent.Poke() }, Log: slog.Default(),
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

// broadcast tells any number of waiters that something has changed.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func newBroadcast() *broadcast { return &broadcast{ch: make(chan struct{})} }

// next is closed at the next change.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ch)
	b.ch = make(chan struct{})
}

func durations(m map[string]time.Duration) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v.String()
	}
	return out
}
