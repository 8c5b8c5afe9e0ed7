package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
	"github.com/minikubelet/minikubelet/pkg/volumes/local"
)

// claim resolves a PersistentVolumeClaim to its volume. Generated is the claim of a generic ephemeral volume, which must
// be the pod's own.
func (v *Volumes) claim(ctx context.Context, p *v1.Pod, name string, readOnly, generated bool) (setup, error) {
	from := v.cfg.Objects.For(p)
	pvc, err := objects.Get[v1.PersistentVolumeClaim](ctx, from, p.Namespace, name)
	if err != nil {
		return setup{}, content.Missing(p, err, "PersistentVolumeClaim", content.FullName(p, name))
	}
	if generated && !pod.IsStatic(p) && !metav1.IsControlledBy(pvc, p) {
		return setup{}, fmt.Errorf("PersistentVolumeClaim %s was not made for this pod: rename it, or the pod", content.FullName(p, name))
	}
	switch {
	case pvc.DeletionTimestamp != nil:
		return setup{}, fmt.Errorf("PersistentVolumeClaim %s is being deleted", content.FullName(p, name))
	case pvc.Spec.VolumeName == "":
		return setup{}, fmt.Errorf("PersistentVolumeClaim %s is not bound to a volume (set spec.volumeName, or see `kubectl describe pvc`)", content.FullName(p, name))
	case !pod.IsStatic(p) && pvc.Status.Phase != v1.ClaimBound:
		return setup{}, fmt.Errorf("PersistentVolumeClaim %s is not bound yet: its phase is %q", content.FullName(p, name), pvc.Status.Phase)
	}
	pv, err := objects.Get[v1.PersistentVolume](ctx, from, "", pvc.Spec.VolumeName)
	if err != nil {
		return setup{}, content.Missing(p, err, "PersistentVolume", pvc.Spec.VolumeName)
	}
	if err := errors.Join(checkBinding(pv, pvc), v.checkNode(pv)); err != nil {
		return setup{}, err
	}
	s, err := v.persistent(ctx, p, pv, pvc, readOnly)
	s.entry.Group = v.groupOf(pv)
	return s, err
}

// checkBinding refuses a volume that is another claim's, or of another mode.
func checkBinding(pv *v1.PersistentVolume, pvc *v1.PersistentVolumeClaim) error {
	if isBlock(pv) != (pvc.Spec.VolumeMode != nil && *pvc.Spec.VolumeMode == v1.PersistentVolumeBlock) {
		return fmt.Errorf("PersistentVolume %s and PersistentVolumeClaim %s/%s differ in volumeMode: both must be Block or Filesystem", pv.Name, pvc.Namespace, pvc.Name)
	}
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return nil
	}
	other := ref.UID != "" && pvc.UID != "" && ref.UID != pvc.UID
	if ref.Namespace != pvc.Namespace || ref.Name != pvc.Name || other {
		return fmt.Errorf("PersistentVolume %s is bound to another claim, %s/%s", pv.Name, ref.Namespace, ref.Name)
	}
	return nil
}

func isBlock(pv *v1.PersistentVolume) bool {
	return pv.Spec.VolumeMode != nil && *pv.Spec.VolumeMode == v1.PersistentVolumeBlock
}

// checkNode refuses a volume that cannot be reached from this node.
func (v *Volumes) checkNode(pv *v1.PersistentVolume) error {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return nil
	}
	selector, err := nodeaffinity.NewNodeSelector(pv.Spec.NodeAffinity.Required)
	if err != nil {
		return fmt.Errorf("PersistentVolume %s has a nodeAffinity that cannot be read: %w", pv.Name, err)
	}
	n := &v1.Node{}
	n.Name, n.Labels = v.cfg.NodeName, v.cfg.Labels()
	if !selector.Match(n) {
		return fmt.Errorf("PersistentVolume %s cannot be used on this node: its nodeAffinity does not match the node's labels", pv.Name)
	}
	return nil
}

// checkUse holds the mode of a volume against how containers use it.
func checkUse(p *v1.Pod, volume string, block bool) error {
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for _, m := range list[i].VolumeMounts {
				if m.Name == volume && block {
					return fmt.Errorf("volume %s has volumeMode Block, but is specified in volumeMounts of container %s: use volumeDevices", volume, list[i].Name)
				}
			}
			for _, d := range list[i].VolumeDevices {
				if d.Name == volume && !block {
					return fmt.Errorf("volume %s has volumeMode Filesystem, but is specified in volumeDevices of container %s: use volumeMounts", volume, list[i].Name)
				}
			}
		}
	}
	return nil
}

func (v *Volumes) persistent(ctx context.Context, p *v1.Pod, pv *v1.PersistentVolume, pvc *v1.PersistentVolumeClaim, readOnly bool) (setup, error) {
	switch s := pv.Spec.PersistentVolumeSource; {
	case s.HostPath != nil && !isBlock(pv):
		return hostPath(s.HostPath, readOnly), nil
	case s.Local != nil && isBlock(pv):
		return localDevice(s.Local.Path, readOnly), nil
	case s.Local != nil:
		return v.local(p, pv, readOnly), nil
	case s.CSI != nil:
		return v.persistentCSI(ctx, p, pv, pvc, readOnly)
	default:
		return setup{}, fmt.Errorf("PersistentVolume %s: %w", pv.Name, unsupported(content.SourceName(s), isBlock(pv)))
	}
}

// local is a directory or a disk of the node, mounted at a place of the pod's.
func (v *Volumes) local(p *v1.Pod, pv *v1.PersistentVolume, readOnly bool) setup {
	e := v.made(p, kindLocal, pv.Name)
	readOnly = readOnly || slices.Contains(pv.Spec.MountOptions, "ro")
	e.Mounted, e.ReadOnly = true, readOnly
	m := local.Mount{Source: pv.Spec.Local.Path, Target: e.Path, ReadOnly: readOnly, Options: pv.Spec.MountOptions}
	if pv.Spec.Local.FSType != nil {
		m.FSType = *pv.Spec.Local.FSType
	}
	return setup{entry: e, run: func(ctx context.Context) error {
		release, err := v.sources.hold(ctx, filepath.Clean(m.Source))
		if err != nil {
			return err
		}
		defer release()
		if err := hostfs.MakeDir(m.Target, 0o750); err != nil {
			return onNode(err)
		}
		switch err := local.Do(m); {
		case errors.Is(err, fs.ErrNotExist):
			return onNode(err)
		case err != nil:
			return err
		}
		if err := v.ownLocal(ctx, p, pv.Name, e); err != nil {
			return errors.Join(err, hostfs.UnmountBelow(m.Target)) // or the next pod would take it for done
		}
		return nil
	}}
}

// ownLocal gives a local volume to the pod's fsGroup, unless another pod has it: that one keeps it.
func (v *Volumes) ownLocal(ctx context.Context, p *v1.Pod, name string, e entry) error {
	group := ownership(p, false)
	if group.Group == nil {
		return nil
	}
	others, err := local.MountedElsewhere(e.Path, filepath.Join(v.cfg.Root, "pods"))
	if err != nil {
		return err
	}
	if len(others) == 0 {
		if e.ReadOnly {
			return nil
		}
		return v.own(ctx, p, name, e.Path, group)
	}
	var st unix.Stat_t
	if err := unix.Stat(e.Path, &st); err != nil {
		return fmt.Errorf("cannot see whose the local volume is: %w", err)
	}
	if int64(st.Gid) != *group.Group {
		v.cfg.Event(p, "", v1.EventTypeWarning, "AlreadyMountedVolume",
			fmt.Sprintf("The requested fsGroup is %d, but the volume %s has GID %d. The volume may not be shareable.", *group.Group, name, st.Gid))
	}
	return nil
}

// localDevice is a disk of the node, given to containers as it is.
func localDevice(path string, readOnly bool) setup {
	e := entry{Kind: kindLocal, Path: path, ReadOnly: readOnly, Block: true}
	return setup{entry: e, run: func(context.Context) error {
		if err := local.Check(path, v1.HostPathBlockDev); err != nil {
			return onNode(fmt.Errorf("cannot use the local volume: %w", err))
		}
		return nil
	}}
}
