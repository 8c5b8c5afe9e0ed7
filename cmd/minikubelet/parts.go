package main

import (
	"context"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/footprint"
	"github.com/minikubelet/minikubelet/pkg/sync/sweep"
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
		a.takeUpPods, a.local.csi.Run, quiet(a.reports.queue.Run), quiet(a.runNode),
		quiet(func(ctx context.Context) {
			a.pressure.guard.Run(ctx, eviction.With{Pods: a.pods.set, Reclaim: []func(context.Context) error{a.bounds.collector.Reclaim}})
		}),
		quiet(a.pods.sweeper.Run), quiet(a.pods.limiter.Run),
		quiet(func(ctx context.Context) {
			w := cri.NewWatcher(a.runtime, slog.Default())
			w.Listed = a.counters.Listed
			w.Watch(ctx, func(uid string, at time.Time) { a.wakes.Changed(types.UID(uid), at) })
		}),
		quiet(func(ctx context.Context) { a.node.monitor.Run(ctx, a.node.agent.Poke) }),
		a.preload,
		quiet(func(ctx context.Context) { footprint.Run(ctx, slog.Default()) }),
		quiet(a.bounds.rotator.Run), quiet(a.bounds.collector.Run), quiet(a.meter.RunClaims), quiet(a.pressure.usage.Run),
	}
	if a.objects.api != nil {
		all = append(all, quiet(a.objects.api.Run), quiet(a.objects.services.Run), quiet(a.follower().Run))
	}
	for _, r := range []*certs.Rotation{a.certs.client, a.certs.serving} {
		if r != nil {
			all = append(all, quiet(r.Run))
		}
	}
	if network := a.network.node; network != nil {
		all = append(all, a.serveNetwork, quiet(func(ctx context.Context) { sweep.ReleaseNetworks(ctx, network, a.runtime) }))
	}
	return all
}

// adopt takes up the pods that the agent remembers.
func (a *agent) adopt(ctx context.Context) error {
	records, err := a.pods.store.Load()
	if err != nil {
		return err
	}
	return a.feed.Adopt(ctx, records)
}

// takeUpPods takes up what the sources say. Archives of images come first: a new pod that finds its image missing would fail.
func (a *agent) takeUpPods(ctx context.Context) error {
	if err := a.images.preloader.Pass(ctx); err != nil && ctx.Err() == nil {
		slog.Error("cannot preload every image archive", "err", err)
	}
	close(a.images.preloaded)
	a.reports.events.NodeEvent(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	return a.feed.Run(ctx)
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
