package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// Unmount unpublishes what may be published at dir/mount, unstages the volume if no other pod uses it, and removes dir.
// What vol_data.json says goes before known, which is what the caller remembers of the volume and may be zero. What is
// not there is no error. It may be repeated at any time.
func (n *Node) Unmount(ctx context.Context, dir string, known Ref) error {
	target := filepath.Join(dir, "mount")
	data, err := notes(dir).Get(dataFile)
	ref := data.ref()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		mounted, err := hostfs.Mounted(target)
		if err != nil {
			return fmt.Errorf("cannot see whether the volume is mounted: %w", err)
		}
		if !mounted {
			return n.clear(dir, target)
		}
		ref = known
	case err != nil:
		ref = known
	}
	if ref.Driver == "" || ref.Handle == "" {
		return fmt.Errorf("cannot tell which volume is at %s: %w (unmount %s and remove the directory)", dir, err, target)
	}
	release, err := n.hold(ctx, ref)
	if err != nil {
		return err
	}
	defer release()
	d, err := n.driver(ctx, ref.Driver)
	if err != nil {
		return err
	}
	if err := unpublish(ctx, d, ref, target); err != nil {
		return err
	}
	if data.Lifecycle != "Ephemeral" {
		if err := n.unstageUnused(ctx, d, ref, dir); err != nil {
			return err
		}
	}
	defer n.used(data.AttachmentID)
	return n.clear(dir, target)
}

func unpublish(ctx context.Context, d *driver, ref Ref, target string) error {
	if err := refuseLink(target); err != nil {
		return err
	}
	_, err := call(ctx, d, "NodeUnpublishVolume", d.client.NodeUnpublishVolume, &csipb.NodeUnpublishVolumeRequest{VolumeId: ref.Handle, TargetPath: target})
	return settle(err, d, target)
}

// settle holds what a driver says of a mount point against what is there. A volume that the driver does not know, or whose
// identity it rejects, is gone when it is not mounted: to ask again would give the same answer for ever.
func settle(err error, d *driver, path string) error {
	if err != nil && status.Code(err) != codes.NotFound && status.Code(err) != codes.InvalidArgument {
		return err
	}
	mounted, mountErr := hostfs.Mounted(path)
	switch {
	case mountErr != nil:
		return errors.Join(err, fmt.Errorf("cannot see whether the volume is still mounted: %w", mountErr))
	case mounted && err != nil:
		return err
	case mounted:
		return fmt.Errorf("driver %s reported success, but the volume is still mounted at %s", d.info.Name, path)
	}
	return nil
}

// unstageUnused unstages a volume that no pod uses but the one with this directory. The caller holds the volume.
func (n *Node) unstageUnused(ctx context.Context, d *driver, ref Ref, except string) error {
	stage := n.stageDir(ref)
	if _, err := os.Lstat(filepath.Join(stage, dataFile)); errors.Is(err, fs.ErrNotExist) {
		return nil // never staged
	}
	users, err := n.users(ref, except)
	if err != nil || users > 0 {
		return err
	}
	staging := filepath.Join(stage, stageMount)
	if err := refuseLink(staging); err != nil {
		return err
	}
	n.setStaged(ref, false)
	_, err = call(ctx, d, "NodeUnstageVolume", d.client.NodeUnstageVolume, &csipb.NodeUnstageVolumeRequest{VolumeId: ref.Handle, StagingTargetPath: staging})
	if err := settle(err, d, staging); err != nil {
		return err
	}
	return n.clear(stage, staging)
}

// clear removes an empty mount point, the note of the volume and their directory. Content found in the mount point is the
// volume's own and stays, with an error.
func (n *Node) clear(dir, point string) error {
	for _, step := range []func() error{
		func() error { return os.Remove(point) },
		func() error { return errors.Join(notes(dir).Delete(dataFile), atomicfile.Sweep(dir, 0)) },
		func() error { return os.Remove(dir) },
	} {
		if err := step(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove what is left of a CSI volume: %w", err)
		}
	}
	return nil
}

// unstageLeftovers unstages what a driver has staged for no pod: an agent was killed between the last unpublish and the
// unstage.
func (n *Node) unstageLeftovers(ctx context.Context, d *driver) {
	files, err := filepath.Glob(filepath.Join(n.driverDir(d.info.Name), "*", dataFile))
	if err != nil {
		n.cfg.Log.Error("cannot look for staged volumes", "driver", d.info.Name, "err", err)
	}
	for _, f := range files {
		if err := n.unstageLeftover(ctx, d, filepath.Dir(f)); err != nil {
			n.cfg.Log.Warn("cannot unstage a volume that no pod uses", "driver", d.info.Name, "dir", filepath.Dir(f), "err", err)
		}
	}
}

func (n *Node) unstageLeftover(ctx context.Context, d *driver, stage string) error {
	data, err := notes(stage).Get(dataFile)
	if err != nil {
		return err
	}
	if data.Driver != d.info.Name || n.stageDir(data.ref()) != stage {
		return fmt.Errorf("%w: it is of volume %s", book.ErrGarbled, data.ref())
	}
	release, err := n.hold(ctx, data.ref())
	if err != nil {
		return err
	}
	defer release()
	return n.unstageUnused(ctx, d, data.ref(), "")
}
