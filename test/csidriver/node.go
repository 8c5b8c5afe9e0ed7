package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.nodeID, MaxVolumesPerNode: 16}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	types := []csi.NodeServiceCapability_RPC_Type{csi.NodeServiceCapability_RPC_GET_VOLUME_STATS}
	if !d.stageless {
		types = append(types, csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME)
	}
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range types {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}},
		})
	}
	return resp, nil
}

func (d *driver) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	switch {
	case r.VolumeId == "" || r.StagingTargetPath == "":
		return nil, status.Error(codes.InvalidArgument, "volume id and staging target path are needed")
	case d.kubeconfig != "" && r.PublishContext[attachedNode] != d.nodeID:
		return nil, status.Errorf(codes.FailedPrecondition, "the publish context must hold %s=%s, and is %v", attachedNode, d.nodeID, r.PublishContext)
	}
	if err := checkCapability(r.VolumeCapability); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.VolumeCapability.GetBlock() != nil {
		return &csi.NodeStageVolumeResponse{}, nil // the device is made when it is published
	}
	return &csi.NodeStageVolumeResponse{}, d.mountImage(r.VolumeId, r.StagingTargetPath, r.VolumeCapability, r.VolumeContext, nil)
}

func (d *driver) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if r.VolumeId == "" || r.StagingTargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id and staging target path are needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return &csi.NodeUnstageVolumeResponse{}, d.unmount(r.StagingTargetPath, false)
}

func (d *driver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if r.VolumeId == "" || r.TargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id and target path are needed")
	}
	if err := checkCapability(r.VolumeCapability); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	resp := &csi.NodePublishVolumeResponse{}
	var options []string
	if r.Readonly {
		options = append(options, "ro")
	}
	if r.VolumeCapability.GetBlock() != nil {
		return resp, d.publishBlock(r.VolumeId, r.TargetPath, r.Readonly)
	}
	ephemeral := r.VolumeContext["csi.storage.k8s.io/ephemeral"] == "true"
	if ephemeral {
		if err := d.images.setMark(r.VolumeId, "ephemeral", ""); err != nil {
			return nil, status.Errorf(codes.Internal, "cannot mark the volume: %v", err)
		}
	}
	if ephemeral || d.stageless {
		return resp, d.mountImage(r.VolumeId, r.TargetPath, r.VolumeCapability, r.VolumeContext, options)
	}
	if mounted, err := d.mounted(r.StagingTargetPath); err != nil || !mounted {
		return nil, status.Errorf(codes.FailedPrecondition, "nothing is staged at %q (%v)", r.StagingTargetPath, err)
	}
	return resp, d.mountAt(r.TargetPath, func() error {
		return d.mounter.Mount(r.StagingTargetPath, r.TargetPath, "", append([]string{"bind"}, options...))
	})
}

func (d *driver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if r.VolumeId == "" || r.TargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id and target path are needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unmount(r.TargetPath, true); err != nil {
		return nil, err
	}
	if err := d.detach(r.VolumeId); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if _, ok := d.images.mark(r.VolumeId, "ephemeral"); ok {
		if err := d.images.remove(r.VolumeId); err != nil {
			return nil, status.Errorf(codes.Internal, "cannot remove the volume: %v", err)
		}
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (d *driver) NodeGetVolumeStats(_ context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if r.VolumeId == "" || r.VolumePath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id and volume path are needed")
	}
	if _, err := d.images.size(r.VolumeId); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no such volume: %v", err)
	}
	if mounted, err := d.mounted(r.VolumePath); err != nil || !mounted {
		return nil, status.Errorf(codes.NotFound, "the volume is not at %q (%v)", r.VolumePath, err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(r.VolumePath, &s); err != nil {
		return nil, status.Errorf(codes.Internal, "cannot read the file system: %v", err)
	}
	block := s.Bsize
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: int64(s.Blocks) * block, Available: int64(s.Bavail) * block, Used: int64(s.Blocks-s.Bfree) * block},
		{Unit: csi.VolumeUsage_INODES, Total: int64(s.Files), Available: int64(s.Ffree), Used: int64(s.Files - s.Ffree)},
	}}, nil
}

// mountImage mounts the volume's file system, which the first mount makes. The size, in bytes, may come with the volume's
// attributes.
func (d *driver) mountImage(id, target string, c *csi.VolumeCapability, attributes map[string]string, options []string) error {
	size, err := strconv.ParseInt(attributes["size"], 10, 64)
	if err != nil || size < minSize || size > maxSize {
		size = defaultSize
	}
	if err := d.images.ensure(id, size); err != nil {
		return status.Errorf(codes.NotFound, "cannot use the volume: %v", err)
	}
	image, err := d.images.path(id)
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	options = append(append(options, "loop"), c.GetMount().GetMountFlags()...)
	return d.mountAt(target, func() error { return d.mounter.FormatAndMount(image, target, "ext4", options) })
}

func (d *driver) mountAt(target string, mount func() error) error {
	mounted, err := d.mounted(target)
	if err == nil && mounted {
		return nil
	}
	if err = os.MkdirAll(target, 0o750); err == nil {
		err = mount()
	}
	if err != nil {
		return status.Errorf(codes.Internal, "cannot mount at %s: %v", target, err)
	}
	return nil
}

// unmount succeeds where nothing is mounted. The CSI specification has the plugin remove a publish target, not a staging path.
func (d *driver) unmount(target string, remove bool) error {
	mounted, err := d.mounted(target)
	if err == nil && mounted {
		err = d.mounter.Unmount(target)
	}
	if err == nil && remove {
		err = os.Remove(target)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return status.Errorf(codes.Internal, "cannot unmount %s: %v", target, err)
	}
	return nil
}

func (d *driver) mounted(path string) (bool, error) {
	is, err := d.mounter.IsMountPoint(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return is, err
}

func checkCapability(c *csi.VolumeCapability) error {
	if c == nil {
		return status.Error(codes.InvalidArgument, "a volume capability is needed")
	}
	if f := c.GetMount().GetFsType(); f != "" && f != "ext4" {
		return status.Error(codes.InvalidArgument, fmt.Sprintf("file systems are ext4, not %s", f))
	}
	return nil
}
