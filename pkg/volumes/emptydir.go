package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/volumes/local"
)

func (v *Volumes) emptyDir(p *v1.Pod, vol *v1.Volume) setup {
	e := v.made(p, kindEmptyDir, vol.Name)
	medium := vol.EmptyDir.Medium
	e.Memory = medium != v1.StorageMediumDefault
	e.Mounted = e.Memory
	return setup{entry: e, run: func(ctx context.Context) error {
		if err := hostfs.MakeDir(e.Path, 0o777); err != nil {
			return onNode(err)
		}
		switch {
		case medium == v1.StorageMediumMemory:
			if err := local.Memory(e.Path, v.tmpfsSize(p, vol.EmptyDir.SizeLimit), 0o1777); err != nil {
				return onNode(err)
			}
		case strings.HasPrefix(string(medium), string(v1.StorageMediumHugePages)):
			size, err := hugePageSize(p, medium)
			if err != nil {
				return err
			}
			if err := local.HugePages(e.Path, size); err != nil {
				return onNode(err)
			}
		case medium != v1.StorageMediumDefault:
			return fmt.Errorf("emptyDir.medium %q is unknown: use \"\", Memory, HugePages or HugePages-<size>", medium)
		}
		return v.own(ctx, p, vol.Name, e.Path, ownership(p, false))
	}}
}

// tmpfsSize is the smallest of the size limit, the memory limit of the pod's cgroup and what pods may use of the node's
// memory, in bytes: what lies in memory counts against these. Zero is the kernel's default, half of the memory.
func (v *Volumes) tmpfsSize(p *v1.Pod, limit *resource.Quantity) int64 {
	allocatable := v.cfg.Node().Allocatable
	size := allocatable.Memory().Value()
	bounds := []int64{resources.PodCgroup(p, resources.CFS{}, resources.Capacity{}).Memory}
	if limit != nil {
		bounds = append(bounds, limit.Value())
	}
	for _, b := range bounds {
		if b > 0 && (size == 0 || b < size) {
			size = b
		}
	}
	return size
}

// hugePageSize is the page size that the medium names, or else the only one that the pod requests, in bytes. Pages that the
// pod does not request are refused: its cgroup would let it use none.
func hugePageSize(p *v1.Pod, medium v1.StorageMedium) (int64, error) {
	requested, err := requestedPageSizes(p)
	if err != nil {
		return 0, err
	}
	if size, ok := strings.CutPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix)); ok {
		q, err := resource.ParseQuantity(size)
		switch {
		case err != nil:
			return 0, fmt.Errorf("emptyDir.medium %q has no valid page size: %w", medium, err)
		case !slices.Contains(requested, q.Value()):
			return 0, fmt.Errorf("emptyDir.medium %s needs a container that requests hugepages-%s", medium, size)
		}
		return q.Value(), nil
	}
	switch len(requested) {
	case 0:
		return 0, errors.New("emptyDir.medium HugePages needs a container that requests hugepages-<size>")
	case 1:
		return requested[0], nil
	}
	return 0, errors.New("emptyDir.medium HugePages is ambiguous: the pod requests pages of several sizes; use HugePages-<size>")
}

// requestedPageSizes are those of the huge pages that the pod requests, each once, in bytes.
func requestedPageSizes(p *v1.Pod) ([]int64, error) {
	var sizes []int64
	for name := range resources.Requests(p) {
		size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		q, err := resource.ParseQuantity(size)
		if err != nil {
			return nil, fmt.Errorf("resource %s has no valid page size: %w", name, err)
		}
		if !slices.Contains(sizes, q.Value()) {
			sizes = append(sizes, q.Value())
		}
	}
	return sizes, nil
}
