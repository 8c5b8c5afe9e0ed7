package csi

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
)

// Stats are a volume's size and use.
type Stats struct {
	Bytes, Inodes Amount
	Abnormal      string // what the driver finds wrong with the volume; empty: nothing
}

// Amount is one measure of a volume.
type Amount struct {
	Total, Used, Available int64
}

// Stats asks a driver about a published volume. A driver that has no statistics gives ok false.
func (n *Node) Stats(ctx context.Context, ref Ref, path string) (s Stats, ok bool, err error) {
	d, err := n.driver(ctx, ref.Driver)
	if err != nil || !d.can[csipb.NodeServiceCapability_RPC_GET_VOLUME_STATS] {
		return Stats{}, false, err
	}
	resp, err := call(ctx, d, "NodeGetVolumeStats", d.client.NodeGetVolumeStats, &csipb.NodeGetVolumeStatsRequest{VolumeId: ref.Handle, VolumePath: path})
	if err != nil {
		return Stats{}, false, err
	}
	for _, u := range resp.GetUsage() {
		a := Amount{Total: u.GetTotal(), Used: u.GetUsed(), Available: u.GetAvailable()}
		switch u.GetUnit() {
		case csipb.VolumeUsage_BYTES:
			s.Bytes = a
		case csipb.VolumeUsage_INODES:
			s.Inodes = a
		}
	}
	if c := resp.GetVolumeCondition(); c.GetAbnormal() {
		s.Abnormal = c.GetMessage()
	}
	return s, true, nil
}
