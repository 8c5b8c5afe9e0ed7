package main

import (
	"context"
	"log/slog"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// bounds keep logs and images from filling the disk.
type bounds struct {
	rotator   *logs.Rotator
	collector *images.Collector
}

func (b base) newBounds(i imageParts, p podParts, r reports) bounds {
	return bounds{
		rotator: logs.NewRotator(logs.RotateConfig{
			Root: b.cfg.Pods.LogDir, MaxSize: b.cfg.Pods.LogMaxSize, MaxFiles: b.cfg.Pods.LogMaxFiles, Period: b.cfg.Pods.LogInterval,
			Workers: b.cfg.Pods.LogWorkers, Running: p.running, Reopen: b.runtime.ReopenContainerLog, Log: slog.Default(),
		}),
		collector: images.NewCollector(images.GCConfig{
			Store: b.runtime, Limits: imageLimits(b.cfg.Images), Present: i.records.Prune, Removed: b.counters.Removed,
			// In use are those that pods need, those of archives on this node, and the sandboxes' own.
			InUse: func(ctx context.Context) ([]string, error) {
				used, err := images.InUse(ctx, b.runtime, p.set.Pods())
				return slices.Concat(images.SandboxImages(b.host.status.Info, ""), i.preloader.Names(), used), err
			},
			Disk: func(ctx context.Context) (capacity, available int64, err error) {
				return images.Disk(ctx, b.runtime, b.cfg.Agent.Root)
			},
			Event: r.events.NodeEvent, Log: slog.Default(),
		}),
	}
}

func imageLimits(i config.Images) images.GCLimits {
	return images.GCLimits{High: i.GCHigh, Low: i.GCLow, MinAge: i.MinAge, MaxAge: i.MaxAge}
}

// running finds the container that writes a log, for its rotation.
func (p podParts) running(ctx context.Context, podUID, container string, attempt uint32) (string, error) {
	_, containers, err := p.observer.Runtime(ctx, types.UID(podUID))
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
