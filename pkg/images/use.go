package images

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// InUse are the images that containers were made from and those that pods which are not over name, by ID, name or digest.
func InUse(ctx context.Context, runtime *cri.Client, pods []*v1.Pod) ([]string, error) {
	list, err := runtime.ListContainers(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range list {
		out = append(out, c.GetImageRef(), c.GetImageId(), c.GetImage().GetImage())
	}
	for _, p := range pods {
		if !pod.IsOver(p) {
			out = append(out, imagesOf(&p.Spec)...)
		}
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

// Dir is where the runtime keeps images; "" when it does not tell, or when the agent does not see that place.
func Dir(ctx context.Context, runtime *cri.Client) string {
	fs, _, err := runtime.ImageFilesystems(ctx)
	if err != nil || len(fs) == 0 {
		slog.Warn("the runtime does not tell where it keeps images: they are taken to lie beside the root directory", "err", err)
		return ""
	}
	if unix.Access(fs[0].Mountpoint, unix.F_OK) != nil {
		return ""
	}
	return fs[0].Mountpoint
}

// Disk measures the file system of images, in bytes; that of root where it is not known.
func Disk(ctx context.Context, runtime *cri.Client, root string) (capacity, available int64, err error) {
	dir := cmp.Or(Dir(ctx, runtime), root)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("cannot measure the file system of %s: %w", dir, err)
	}
	return int64(s.Blocks) * s.Bsize, int64(s.Bavail) * s.Bsize, nil
}
