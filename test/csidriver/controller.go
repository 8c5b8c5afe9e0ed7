package main

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// attachedNode is the key of the publish context: a stage must bring it when volumes are attached first.
const attachedNode = "attached-node"

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	types := []csi.ControllerServiceCapability_RPC_Type{csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME}
	if d.kubeconfig != "" {
		types = append(types, csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME)
	}
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range types {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}},
		})
	}
	return resp, nil
}

func (d *driver) CreateVolume(_ context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if r.Name == "" || len(r.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a name and volume capabilities are needed")
	}
	for _, c := range r.VolumeCapabilities {
		if err := checkCapability(c); err != nil {
			return nil, err
		}
	}
	if r.VolumeContentSource != nil {
		return nil, status.Error(codes.InvalidArgument, "volumes are empty: there are no sources")
	}
	size, limit := r.CapacityRange.GetRequiredBytes(), r.CapacityRange.GetLimitBytes()
	if size == 0 {
		size = defaultSize
	}
	size = max(size, minSize)
	if size > maxSize || limit > 0 && size > limit {
		return nil, status.Errorf(codes.OutOfRange, "a volume has %d to %d bytes", minSize, int64(maxSize))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id := idOf(r.Name)
	if have, err := d.images.size(id); err == nil && (have < r.CapacityRange.GetRequiredBytes() || limit > 0 && have > limit) {
		return nil, status.Errorf(codes.AlreadyExists, "the volume has %d bytes", have)
	} else if err == nil {
		size = have
	}
	if err := d.images.ensure(id, size); err != nil {
		return nil, status.Errorf(codes.Internal, "cannot create the volume: %v", err)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: id, CapacityBytes: size, VolumeContext: r.Parameters}}, nil
}

func (d *driver) DeleteVolume(_ context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if r.VolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "a volume id is needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.images.remove(r.VolumeId); err != nil {
		return nil, status.Errorf(codes.Internal, "cannot delete the volume: %v", err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if r.VolumeId == "" || len(r.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a volume id and volume capabilities are needed")
	}
	if _, err := d.images.size(r.VolumeId); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no such volume: %v", err)
	}
	for _, c := range r.VolumeCapabilities {
		if err := checkCapability(c); err != nil {
			return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
		}
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: r.VolumeCapabilities}}, nil
}

func (d *driver) ControllerPublishVolume(_ context.Context, r *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if r.VolumeId == "" || r.NodeId == "" {
		return nil, status.Error(codes.InvalidArgument, "a volume id and a node id are needed")
	}
	if err := checkCapability(r.VolumeCapability); err != nil {
		return nil, err
	}
	if r.NodeId != d.nodeID {
		return nil, status.Errorf(codes.NotFound, "there is no node %s", r.NodeId)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.images.size(r.VolumeId); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no such volume: %v", err)
	}
	if err := d.images.setMark(r.VolumeId, "attached", r.NodeId); err != nil {
		return nil, status.Errorf(codes.Internal, "cannot attach the volume: %v", err)
	}
	return &csi.ControllerPublishVolumeResponse{PublishContext: map[string]string{attachedNode: r.NodeId}}, nil
}

func (d *driver) ControllerUnpublishVolume(_ context.Context, r *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if r.VolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "a volume id is needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.images.clearMark(r.VolumeId, "attached"); err != nil {
		return nil, status.Errorf(codes.Internal, "cannot detach the volume: %v", err)
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}
