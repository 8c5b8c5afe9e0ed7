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
		a.pods, a.csi.Run, quiet(a.events.Run), quiet(a.writer.Run), quiet(a.node.Run), quiet(a.guard.Run),
		quiet(a.refresher.Run), quiet(a.refresher.RunWanted), quiet(a.sweeper.Run),
		quiet(func(ctx context.Context) {
			cri.NewWatcher(a.runtime, slog.Default()).Watch(ctx, func(uid string, at time.Time) { a.set.Changed(types.UID(uid), at) })
		}),
		quiet(func(ctx context.Context) { a.monitor.Run(ctx, a.node.Poke) }),
		a.preload,
		quiet(func(ctx context.Context) { footprint.Run(ctx, slog.Default()) }),
		quiet(a.rotator.Run), quiet(a.collector.Run), quiet(a.meter.RunClaims),
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

// pods takes up what the agent remembers and then what the sources say. Archives of images come first: a pod that finds
// its image missing would wait out a backoff.
func (a *agent) pods(ctx context.Context) error {
	if err := a.preloader.Pass(ctx); err != nil && ctx.Err() == nil {
		slog.Error("cannot preload every image archive", "err", err)
	}
	close(a.preloaded)
	records, err := a.store.Load()
	if err != nil {
		return err
	}
	if err := a.feed.Adopt(ctx, records); err != nil {
		return err
	}
	a.events.NodeEvent(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	return a.feed.Run(ctx)
}

// preload goes on with what appears later. A preloader is used by one goroutine at a time.
func (a *agent) preload(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.preloaded:
		return a.preloader.Run(ctx)
	}
}

// runningContainer finds the container that writes a log, for its rotation.
func (a *agent) runningContainer(ctx context.Context, podUID, container string, attempt uint32) (string, error) {
	_, containers, err := a.observer.Runtime(ctx, types.UID(podUID))
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
	a.guard = eviction.New(eviction.Config{
		Limits: limits, Reclaim: []func(context.Context) error{a.collector.Reclaim},
		Standalone: a.api.client == nil,
		Stats:      stats.New(a.measured(ctx)),
		Pods:       a.set, Changed: func() { a.node.Poke() }, Log: slog.Default(),
		Event: func(p *v1.Pod, typ, reason, message string) {
			if p == nil {
				a.events.NodeEvent(typ, reason, message)
				return
			}
			a.events.Event(p, "", typ, reason, message)
		},
	})
	return nil
}

// measured says where usage is read from.
func (a *agent) measured(ctx context.Context) stats.Config {
	return stats.Config{
		MemoryRoot: a.cgroups.RootDir("memory"), V2: a.cgroups.V2(), RootDir: a.cfg.Agent.Root, LogDir: a.cfg.Pods.LogDir,
		ImageDir: images.Dir(ctx, a.runtime), PodCgroup: a.cgroups.PodDir, Containers: a.containerUsage,
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
