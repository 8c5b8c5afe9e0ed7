package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

// tearDown undoes one volume. What the agent did not make (a hostPath) is not touched.
func (v *Volumes) tearDown(ctx context.Context, uid types.UID, e entry) error {
	if e.Dir == "" {
		return nil
	}
	dir := filepath.Join(v.podDir(uid), e.Dir)
	if e.Kind == kindCSI {
		if v.cfg.CSI == nil {
			return errors.New("cannot unmount a CSI volume: CSI is switched off on this node")
		}
		return v.cfg.CSI.Unmount(ctx, dir, csi.Ref{Driver: e.Driver, Handle: e.Handle})
	}
	err := hostfs.UnmountBelow(dir)
	if e.Kind == kindLocal { // only ever a mount point: content found there is the volume's own and stays
		return errors.Join(err, removeEmpty(dir))
	}
	if err := errors.Join(err, hosttree.Remove(ctx, dir)); err != nil {
		return fmt.Errorf("cannot remove the volume's directory: %w", err)
	}
	return nil
}

func removeEmpty(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the volume's mount point: %w", err)
	}
	return nil
}

// RemovePodDir removes what is left of a pod's directory. While anything is mounted below it nothing is removed and the
// error names the mounts.
func (v *Volumes) RemovePodDir(ctx context.Context, uid types.UID) error {
	if err := hostfs.CheckComponent(string(uid)); err != nil {
		return fmt.Errorf("cannot use the pod's UID: %w", err)
	}
	dir := v.podDir(uid)
	mounts, err := hostfs.MountsBelow(dir)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("cannot remove the directory of pod %s: %w: %q", uid, hosttree.ErrMounted, mounts)
	}
	if err := hosttree.Remove(ctx, dir); err != nil {
		return fmt.Errorf("cannot remove the directory of pod %s: %w", uid, err)
	}
	v.mu.Lock()
	delete(v.pods, uid)
	v.content.Forget(uid, "")
	v.mu.Unlock()
	return nil
}

// Leftovers lists the pods that have a directory on this node.
func (v *Volumes) Leftovers() ([]types.UID, error) {
	dirs, err := os.ReadDir(filepath.Join(v.cfg.Root, "pods"))
	if err != nil {
		return nil, fmt.Errorf("cannot list the directories of pods: %w", err)
	}
	var uids []types.UID
	for _, d := range dirs {
		if d.IsDir() {
			uids = append(uids, types.UID(d.Name()))
		}
	}
	return uids, nil
}
