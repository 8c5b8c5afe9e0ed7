package images

import (
	"context"
	"log/slog"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

const (
	imagesFresh   = 30 * time.Second // how long a list of images is good for the Node
	namesPerImage = 5                // in the Node's status
)

// NodeList lists the node's images for the Node's status, now and then. It is used by one goroutine.
type NodeList struct {
	List func(context.Context) ([]cri.Image, error)
	at   time.Time
	last []v1.ContainerImage
}

// Get returns the last list when no newer one can be had.
func (l *NodeList) Get(ctx context.Context) []v1.ContainerImage {
	if !l.at.IsZero() && time.Since(l.at) < imagesFresh {
		return l.last
	}
	list, err := l.List(ctx)
	if err != nil {
		slog.Debug("cannot list images for the Node's status", "err", err)
		return l.last
	}
	l.at, l.last = time.Now(), make([]v1.ContainerImage, 0, len(list))
	for _, i := range list {
		names := slices.Concat(i.Digests, i.Tags)
		if len(names) == 0 {
			continue
		}
		l.last = append(l.last, v1.ContainerImage{Names: names[:min(len(names), namesPerImage)], SizeBytes: int64(i.Size)})
	}
	return l.last
}
