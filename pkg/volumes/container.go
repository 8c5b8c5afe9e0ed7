package volumes

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
	"github.com/minikubelet/minikubelet/pkg/volumes/subpath"
)

// Mount is one volume as a container sees it: what CRI needs to know of it.
type Mount struct {
	Volume            string
	HostPath          string // empty for an image volume
	ContainerPath     string
	ReadOnly          bool
	RecursiveReadOnly v1.RecursiveReadOnlyMode // empty: Disabled (KEP-3857)
	Propagation       v1.MountPropagationMode  // empty: None
	SELinuxRelabel    bool                     // content is the agent's own and may be given the container's label
	Image             *v1.ImageVolumeSource    // mount this image instead of a host path (KEP-4639)
	ImageSubPath      string
}

// ContainerMounts lists the mounts of a container, in spec order. Env looks up the container's own variables, for
// subPathExpr; nil has none. A subPath is opened beneath its volume and bound to a place of its own, so that nobody can
// swap it for a link to elsewhere later; Unmount undoes it. Mounts that lie in read-only volumes find their mount points.
func (v *Volumes) ContainerMounts(ctx context.Context, p *v1.Pod, c *v1.Container, env func(name string) (string, bool)) ([]Mount, error) {
	l, err := v.ledger(p.UID, false)
	if err != nil {
		return nil, err
	}
	mounts := make([]Mount, 0, len(c.VolumeMounts))
	of := mounting{pod: p, container: c, env: env, ledger: l, dir: v.podDir(p.UID)}
	for i := range c.VolumeMounts {
		m, err := of.mount(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("cannot mount volume %s at %s in container %s: %w", c.VolumeMounts[i].Name, c.VolumeMounts[i].MountPath, c.Name, err)
		}
		mounts = append(mounts, m)
	}
	if err := of.makePoints(ctx, mounts); err != nil {
		return nil, fmt.Errorf("cannot mount volumes within others in container %s: %w", c.Name, err)
	}
	return mounts, nil
}

// mounting is a container whose mounts are being found.
type mounting struct {
	pod       *v1.Pod
	container *v1.Container
	env       func(string) (string, bool)
	ledger    *ledger
	dir       string // the pod's
}

func (o mounting) mount(ctx context.Context, index int) (Mount, error) {
	vm := &o.container.VolumeMounts[index]
	vol := volumeOf(o.pod, vm.Name)
	if vol == nil {
		return Mount{}, errors.New("the pod has no volume of this name")
	}
	e := o.ledger.get(vm.Name)
	if e.State != ready {
		return Mount{}, errors.New("the volume is not mounted yet")
	}
	m := Mount{Volume: vm.Name, HostPath: e.Path, ContainerPath: vm.MountPath, ReadOnly: vm.ReadOnly || e.ReadOnly}
	if vm.MountPropagation != nil {
		m.Propagation = *vm.MountPropagation
	}
	if vm.RecursiveReadOnly != nil {
		m.RecursiveReadOnly = *vm.RecursiveReadOnly
	}
	switch e.Kind {
	case kindEmptyDir, kindConfigMap, kindSecret, kindDownwardAPI, kindProjected:
		m.SELinuxRelabel = true
	}
	sub, err := subPath(vm, o.env)
	if err != nil {
		return Mount{}, err
	}
	switch {
	case vol.Image != nil:
		m.Image, m.ImageSubPath = vol.Image, sub
	case sub != "":
		release, err := o.ledger.hold(ctx, vm.Name)
		if err != nil {
			return Mount{}, err
		}
		defer release()
		root := e.Path
		if content.Has(vol) {
			root = hostfs.ContentRoot(root, sub)
		}
		if m.HostPath, err = subpath.Bind(ctx, o.dir, subpath.Mount{Volume: vm.Name, Root: root, Container: o.container.Name, Index: index, Path: sub}); err != nil {
			return Mount{}, fmt.Errorf("cannot prepare subPath %q: %w", sub, err)
		}
	}
	return m, nil
}

// Device is one block device as a container sees it.
type Device struct {
	HostPath      string
	ContainerPath string
	ReadOnly      bool
}

// ContainerDevices lists the block devices of a container, in spec order.
func (v *Volumes) ContainerDevices(p *v1.Pod, c *v1.Container) ([]Device, error) {
	l, err := v.ledger(p.UID, false)
	if err != nil {
		return nil, err
	}
	var out []Device
	for _, d := range c.VolumeDevices {
		e := l.get(d.Name)
		switch {
		case e.State != ready:
			return nil, fmt.Errorf("cannot give volume %s to container %s as %s: it is not set up yet", d.Name, c.Name, d.DevicePath)
		case !e.Block:
			return nil, fmt.Errorf("cannot give volume %s to container %s as %s: it is no block device", d.Name, c.Name, d.DevicePath)
		}
		out = append(out, Device{HostPath: e.Path, ContainerPath: d.DevicePath, ReadOnly: e.ReadOnly})
	}
	return out, nil
}

func subPath(vm *v1.VolumeMount, env func(string) (string, bool)) (string, error) {
	if vm.SubPathExpr == "" {
		return vm.SubPath, nil
	}
	missing := ""
	sub := downward.Expand(vm.SubPathExpr, func(name string) (string, bool) {
		if env != nil {
			if value, ok := env(name); ok && value != "" { // an empty one would mount what lies above
				return value, true
			}
		}
		missing = name
		return "", true
	})
	if missing != "" {
		return "", fmt.Errorf("subPathExpr %q names the variable %s, which the container does not have or which is empty: give it a value in env", vm.SubPathExpr, missing)
	}
	return sub, nil
}
