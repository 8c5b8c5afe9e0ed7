package hostfs

import (
	"errors"
	"fmt"
	"syscall"
)

// Explain adds to an error of the file system what a person must do about it.
func Explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w (the disk is full or out of inodes: free some space on the node)", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w (the file system is mounted read-only: look in dmesg for disk errors)", err)
	}
	return err
}
