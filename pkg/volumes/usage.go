package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// Use is what a volume takes.
type Use struct {
	Bytes  int64 // blocks in use, as du counts them
	Inodes int64
	Memory bool // of memory, not of the disk
}

// Usage measures the volumes of a pod that the agent itself holds the content of: emptyDir and the written kinds. Those in
// memory are asked of the file system; the others are walked, without following links.
func (v *Volumes) Usage(ctx context.Context, uid types.UID) (map[string]Use, error) {
	l, err := v.ledger(uid, false)
	if err != nil {
		return nil, err
	}
	use := map[string]Use{}
	var errs []error
	for name := range l.observe() {
		e := l.get(name)
		if e.State != ready || e.Dir == "" || e.Kind == kindCSI || e.Kind == kindLocal {
			continue
		}
		u, err := measure(ctx, e)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot measure volume %s: %w", name, err))
			continue
		}
		use[name] = u
	}
	return use, errors.Join(errs...)
}

func measure(ctx context.Context, e entry) (Use, error) {
	if e.Memory {
		var st unix.Statfs_t
		if err := unix.Statfs(e.Path, &st); err != nil {
			return Use{}, err
		}
		return Use{Bytes: int64(st.Blocks-st.Bfree) * st.Bsize, Inodes: int64(st.Files - st.Ffree), Memory: true}, nil
	}
	bytes, inodes, err := hostfs.Measure(ctx, e.Path)
	return Use{Bytes: bytes, Inodes: inodes}, err
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
