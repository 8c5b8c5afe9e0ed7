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

// wireBounds makes what keeps logs and images from filling the disk.
func (a *agent) wireBounds(context.Context) error {
	a.pods.rotator = logs.NewRotator(logs.RotateConfig{
		Root: a.cfg.Pods.LogDir, MaxSize: a.cfg.Pods.LogMaxSize, MaxFiles: a.cfg.Pods.LogMaxFiles, Period: a.cfg.Pods.LogInterval,
		Workers: a.cfg.Pods.LogWorkers, Running: a.runningContainer, Reopen: a.runtime.ReopenContainerLog, Log: slog.Default(),
	})
	a.images.collector = images.NewCollector(images.GCConfig{
		Store: a.runtime, Limits: imageLimits(a.cfg.Images), InUse: a.imagesInUse, Disk: a.imageDisk, Present: a.images.records.Prune,
		Event: a.reports.events.NodeEvent, Removed: a.reports.counters.Removed, Log: slog.Default(),
	})
	return nil
}

// imagesInUse are those that pods need, those of archives on this node, and the sandboxes' own.
func (a *agent) imagesInUse(ctx context.Context) ([]string, error) {
	used, err := images.InUse(ctx, a.runtime, a.pods.set.Pods())
	return slices.Concat(images.SandboxImages(a.host.status.Info, ""), a.images.preloader.Names(), used), err
}

func (a *agent) imageDisk(ctx context.Context) (capacity, available int64, err error) {
	return images.Disk(ctx, a.runtime, a.cfg.Agent.Root)
}

func imageLimits(i config.Images) images.GCLimits {
	return images.GCLimits{High: i.GCHigh, Low: i.GCLow, MinAge: i.MinAge, MaxAge: i.MaxAge}
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
