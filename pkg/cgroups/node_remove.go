package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
)

// RemoveNode removes the cgroup of all pods with the classes below it, in every hierarchy, when the last pod is gone for
// good. It is ErrBusy when processes are left.
func (t *Tree) RemoveNode() error {
	var errs []error
	if t.cfg.Systemd && t.exists(t.node) {
		errs = append(errs, t.drv.release(t.node))
	}
	for _, h := range t.all {
		errs = append(errs, removeTree(filepath.Join(h.dir, t.drv.path(t.node))))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove the cgroup of all pods: %w", err)
	}
	return nil
}
