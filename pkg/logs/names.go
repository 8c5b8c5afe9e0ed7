package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

// eachName calls f for each name in a directory, in no order. The directory is read piece by piece: there may be millions of
// files in it, for some pods may write to /var/log.
func eachName(dir string, f func(name string)) error {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		part, err := d.Readdirnames(256)
		for _, name := range part {
			f(name)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// RemoveDir removes the log directory of a pod. The directory of all logs may be a link to another disk.
func RemoveDir(ctx context.Context, dir string) error {
	all, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = hosttree.Remove(ctx, filepath.Join(all, filepath.Base(dir)))
	}
	if err != nil {
		return fmt.Errorf("cannot remove the pod's logs: %w", err)
	}
	return nil
}

// RemoveEarlier removes the logs of a container's attempts before this one, also those that were rotated.
func RemoveEarlier(dir string, last uint32) error {
	var errs hosttree.Errors
	err := eachName(dir, func(name string) {
		number, _, _ := strings.Cut(name, ".")
		if n, bad := strconv.ParseUint(number, 10, 32); bad == nil && uint32(n) < last {
			if err := os.Remove(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				errs.Add(err)
			}
		}
	})
	if !errors.Is(err, os.ErrNotExist) {
		errs.Add(err)
	}
	return errs.Err()
}
