package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// Volume is a volume as a pod wants it mounted.
type Volume struct {
	Ref
	SpecName       string // of the PersistentVolume, or of the pod's inline volume
	Ephemeral      bool   // inline: it lives and dies with the pod, and is not staged
	ReadOnly       bool
	FSType         string // empty: the driver decides
	MountFlags     []string
	AccessModes    []v1.PersistentVolumeAccessMode // the first counts; none: ReadWriteOnce
	Attributes     map[string]string               // the volume context
	PodInfo        map[string]string               // added to the volume context of the publish call alone
	Attachment     string                          // name of the VolumeAttachment, or empty
	PublishContext map[string]string               // from the VolumeAttachment
	StageSecrets   map[string]string
	PublishSecrets map[string]string
	FSGroup        *int64 // for a driver that applies it itself
	Block          bool   // a device and no file system; what is published is a file
}

// Mount stages a volume if its driver stages and it is not staged yet, and publishes it at dir/mount. It may be repeated
// at any time. GroupApplied says that the driver has seen to the fsGroup. After an error the volume may still be mounted,
// now or later: Unmount undoes what there is.
func (n *Node) Mount(ctx context.Context, dir string, v Volume) (groupApplied bool, err error) {
	d, err := n.driver(ctx, v.Driver)
	if err != nil {
		return false, err
	}
	release, err := n.hold(ctx, v.Ref)
	if err != nil {
		return false, err
	}
	defer release()
	data := volData{Driver: v.Driver, Handle: v.Handle, SpecName: v.SpecName, NodeName: n.cfg.NodeName, AttachmentID: v.Attachment, Lifecycle: "Persistent"}
	if v.Ephemeral {
		data.Lifecycle = "Ephemeral"
	}
	if err := intend(dir, data); err != nil {
		return false, err
	}
	n.used(data.AttachmentID)
	if err := refuseLink(filepath.Join(dir, "mount")); err != nil {
		return false, err
	}
	delegated := v.FSGroup != nil && d.can[csipb.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP]
	if !delegated {
		v.FSGroup = nil
	}
	staging := ""
	if d.stages() && !v.Ephemeral {
		staging = filepath.Join(n.stageDir(v.Ref), stageMount)
		if err := n.stage(ctx, d, v, staging, dir); err != nil {
			return false, err
		}
	}
	if err := publish(ctx, d, v, staging, filepath.Join(dir, "mount")); err != nil {
		n.setStaged(v.Ref, false) // whatever is wrong, stage anew next time: it is idempotent
		return false, err
	}
	return delegated, nil
}

func (n *Node) stage(ctx context.Context, d *driver, v Volume, staging, dir string) error {
	if n.isStaged(v.Ref) {
		return nil
	}
	if err := intend(filepath.Dir(staging), volData{Driver: v.Driver, Handle: v.Handle}); err != nil {
		return err
	}
	if err := refuseLink(staging); err != nil {
		return err
	}
	if err := os.Mkdir(staging, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make the staging directory: %w", err)
	}
	_, err := call(ctx, d, "NodeStageVolume", d.client.NodeStageVolume, &csipb.NodeStageVolumeRequest{
		VolumeId: v.Handle, StagingTargetPath: staging, VolumeCapability: capability(d, v),
		PublishContext: v.PublishContext, VolumeContext: v.Attributes, Secrets: v.StageSecrets,
	})
	if err != nil {
		return errors.Join(err, n.forgetStage(v.Ref, staging, err, dir))
	}
	n.setStaged(v.Ref, true)
	return nil
}

// forgetStage takes the note of a staged volume back when the driver's error settles that there is none. After any other
// error the volume may be staged, now or later, and the note stays for Unmount to undo it.
func (n *Node) forgetStage(ref Ref, staging string, failure error, dir string) error {
	if !final(failure) {
		return nil
	}
	if users, err := n.users(ref, dir); err != nil || users > 0 {
		return err
	}
	if mounted, err := hostfs.Mounted(staging); err != nil || mounted {
		return err
	}
	return n.clear(filepath.Dir(staging), staging)
}

func publish(ctx context.Context, d *driver, v Volume, staging, target string) error {
	info := maps.Clone(v.Attributes)
	if info == nil {
		info = map[string]string{}
	}
	maps.Copy(info, v.PodInfo)
	_, err := call(ctx, d, "NodePublishVolume", d.client.NodePublishVolume, &csipb.NodePublishVolumeRequest{
		VolumeId: v.Handle, StagingTargetPath: staging, TargetPath: target, VolumeCapability: capability(d, v), Readonly: v.ReadOnly,
		PublishContext: v.PublishContext, VolumeContext: info, Secrets: v.PublishSecrets,
	})
	return err
}

// refuseLink keeps a driver from being led elsewhere by a link in the place of a mount point.
func refuseLink(path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("cannot use %s as a mount point: it is a symbolic link (remove it)", path)
	}
	return nil
}

func capability(d *driver, v Volume) *csipb.VolumeCapability {
	mode := &csipb.VolumeCapability_AccessMode{Mode: accessMode(v.AccessModes, d.can[csipb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER])}
	if v.Block {
		return &csipb.VolumeCapability{AccessType: &csipb.VolumeCapability_Block{Block: &csipb.VolumeCapability_BlockVolume{}}, AccessMode: mode}
	}
	mount := &csipb.VolumeCapability_MountVolume{FsType: v.FSType, MountFlags: v.MountFlags}
	if v.FSGroup != nil {
		mount.VolumeMountGroup = strconv.FormatInt(*v.FSGroup, 10)
	}
	return &csipb.VolumeCapability{
		AccessType: &csipb.VolumeCapability_Mount{Mount: mount},
		AccessMode: mode,
	}
}

// accessMode translates the first access mode. Drivers that tell one writer from several on a node get the finer modes
// (KEP-2485).
func accessMode(modes []v1.PersistentVolumeAccessMode, finer bool) csipb.VolumeCapability_AccessMode_Mode {
	mode := v1.ReadWriteOnce
	if slices.Contains(modes, v1.ReadWriteOncePod) {
		mode = v1.ReadWriteOncePod
	} else if len(modes) > 0 {
		mode = modes[0]
	}
	switch {
	case mode == v1.ReadOnlyMany:
		return csipb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	case mode == v1.ReadWriteMany:
		return csipb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	case mode == v1.ReadWriteOncePod && finer:
		return csipb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	case finer:
		return csipb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	}
	return csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
}
