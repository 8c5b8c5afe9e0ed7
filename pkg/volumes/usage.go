package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
)

// Stats are the sizes of a pod's volumes that are file systems of their own, by the volumes' names: a driver tells of its
// volumes, the file system of a local one. Block devices, and volumes of drivers that do not tell, are missing.
func (v *Volumes) Stats(ctx context.Context, uid types.UID) (map[string]csi.Stats, error) {
	l, err := v.ledger(uid, false)
	if err != nil {
		return nil, err
	}
	out := map[string]csi.Stats{}
	var errs []error
	for name := range l.observe() {
		e := l.get(name)
		if e.State != ready || e.Block || e.Kind != kindCSI && e.Kind != kindLocal {
			continue
		}
		s, ok, err := v.stats(ctx, e)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot measure volume %s: %w", name, err))
		case ok:
			out[name] = s
		}
	}
	return out, errors.Join(errs...)
}

func (v *Volumes) stats(ctx context.Context, e entry) (csi.Stats, bool, error) {
	if e.Kind == kindCSI {
		return v.cfg.CSI.Stats(ctx, csi.Ref{Driver: e.Driver, Handle: e.Handle}, e.Path)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(e.Path, &st); err != nil {
		return csi.Stats{}, false, err
	}
	return csi.Stats{
		Bytes:  csi.Amount{Total: int64(st.Blocks) * st.Bsize, Used: int64(st.Blocks-st.Bfree) * st.Bsize, Available: int64(st.Bavail) * st.Bsize},
		Inodes: csi.Amount{Total: int64(st.Files), Used: int64(st.Files - st.Ffree), Available: int64(st.Ffree)},
	}, true, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
