package local

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

// Memory mounts a tmpfs, without swap where the kernel can (6.4 and newer): secrets must not reach a disk. Size is in
// bytes, zero for the kernel's default. What is mounted already stays.
func Memory(path string, size int64, mode os.FileMode) error {
	if mounted, err := hostfs.Mounted(path); mounted || err != nil {
		return err
	}
	options := fmt.Sprintf("mode=%o", mode)
	if size > 0 {
		options += fmt.Sprintf(",size=%d", size)
	}
	err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_RELATIME, options+",noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_RELATIME, options)
	}
	if err != nil {
		return fmt.Errorf("cannot mount a tmpfs at %s: %w", path, err)
	}
	return nil
}

// HugePages mounts a hugetlbfs with pages of so many bytes. What is mounted already stays.
func HugePages(path string, size int64) error {
	if mounted, err := hostfs.Mounted(path); mounted || err != nil {
		return err
	}
	if err := unix.Mount("nodev", path, "hugetlbfs", 0, fmt.Sprintf("pagesize=%d,mode=777", size)); err != nil {
		return fmt.Errorf("cannot mount a hugetlbfs with pages of %d bytes at %s: %w (does the node have huge pages of this size?)", size, path, err)
	}
	return nil
}
