package main

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// wireBounds makes what keeps logs and images from filling the disk.
func (a *agent) wireBounds(context.Context) error {
	a.rotator = logs.NewRotator(logs.RotateConfig{
		Root: a.cfg.Pods.LogDir, MaxSize: a.cfg.Pods.LogMaxSize, MaxFiles: a.cfg.Pods.LogMaxFiles, Period: a.cfg.Pods.LogInterval,
		Workers: a.cfg.Pods.LogWorkers, Running: a.runningContainer, Reopen: a.runtime.ReopenContainerLog, Log: slog.Default(),
	})
	a.collector = images.NewCollector(images.GCConfig{
		Store: a.runtime, Limits: imageLimits(a.cfg.Images), InUse: a.imagesInUse, Disk: a.imageDisk, Present: a.records.Prune,
		Event: a.events.NodeEvent, Log: slog.Default(),
	})
	return nil
}

// imagesInUse are the images that containers were made from, those that pods which are not over name, those of archives on
// this node, and the sandboxes' own.
func (a *agent) imagesInUse(ctx context.Context) ([]string, error) {
	list, err := a.runtime.ListContainers(ctx, "")
	if err != nil {
		return nil, err
	}
	out := append(images.SandboxImages(a.host.status.Info, ""), a.preloader.Names()...)
	for _, c := range list {
		out = append(out, c.GetImageRef(), c.GetImageId(), c.GetImage().GetImage())
	}
	for _, p := range a.set.Pods() {
		if pod.IsOver(p) {
			continue
		}
		out = append(out, imagesOf(&p.Spec)...)
	}
	return out, nil
}

func imagesOf(s *v1.PodSpec) []string {
	var out []string
	for _, list := range [][]v1.Container{s.InitContainers, s.Containers} {
		for _, c := range list {
			out = append(out, c.Image)
		}
	}
	for _, c := range s.EphemeralContainers {
		out = append(out, c.Image)
	}
	for _, v := range s.Volumes {
		if v.Image != nil {
			out = append(out, v.Image.Reference)
		}
	}
	return out
}

// imageDir is where the runtime keeps images; "" when it does not tell, or when the agent does not see that place.
func (a *agent) imageDir(ctx context.Context) string {
	fs, _, err := a.runtime.ImageFilesystems(ctx)
	if err != nil || len(fs) == 0 {
		slog.Warn("the runtime does not tell where it keeps images: they are taken to lie beside the root directory", "err", err)
		return ""
	}
	if unix.Access(fs[0].Mountpoint, unix.F_OK) != nil {
		return ""
	}
	return fs[0].Mountpoint
}

// imageDisk measures the file system of images.
func (a *agent) imageDisk(ctx context.Context) (capacity, available int64, err error) {
	dir := a.imageDir(ctx)
	if dir == "" {
		dir = a.cfg.Agent.Root
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("cannot measure the file system of %s: %w", dir, err)
	}
	return int64(s.Blocks) * s.Bsize, int64(s.Bavail) * s.Bsize, nil
}
