package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

// maxName is the longest file name of Linux file systems, in bytes.
const maxName = 255

// LinkName is the name of a container's link in /var/log/containers: pod_namespace_container-id.log.
func LinkName(pod, namespace, container, id string) string {
	const suffix = ".log"
	name := pod + "_" + namespace + "_" + container + "-" + id
	return name[:min(len(name), maxName-len(suffix))] + suffix
}

// Link makes dir/name a link to a container's log, replacing one that is there. Log shippers find containers by it.
func Link(dir, name, target string) error {
	if name != filepath.Base(name) {
		return fmt.Errorf("cannot link a log as %q: not a file name", name)
	}
	path := filepath.Join(dir, name)
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot link log %s: %w", target, err)
	}
	if err := os.Symlink(target, path); err != nil {
		return fmt.Errorf("cannot link log %s: %w", target, err)
	}
	return nil
}

// UnlinkDangling removes the links in dir whose logs below root are gone; root is the directory of all pod logs. Links
// to elsewhere are not ours.
func UnlinkDangling(dir, root string) error {
	var errs hosttree.Errors
	err := eachName(dir, func(name string) {
		path := filepath.Join(dir, name)
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, filepath.Clean(root)+"/") {
			return
		}
		if _, err := os.Lstat(target); errors.Is(err, os.ErrNotExist) {
			errs.Add(os.Remove(path))
		}
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot list log links: %w", err)
	}
	return errs.Err()
}
