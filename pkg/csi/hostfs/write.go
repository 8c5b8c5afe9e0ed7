package hostfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// Encode replaces path by the JSON form of value, mode 0600. With sync, the content and the name are on the disk when it
// returns. Readers see the old or the new content, never a part.
func Encode(path string, value any, sync bool) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	return Explain(atomicfile.Write(path, b, 0o600, atomicfile.SyncIf(sync)))
}

// RemoveEncoded removes a file that Encode wrote, and what writers that were killed left half-written beside it. No other
// may write there meanwhile. A file that is not there is no error.
func RemoveEncoded(path string) error {
	return errors.Join(ignore(os.Remove(path), fs.ErrNotExist), atomicfile.Sweep(filepath.Dir(path), 0))
}

// Decode reads a JSON file. A file that is not there is fs.ErrNotExist; one that cannot be read as JSON, or is no regular
// file, is ErrGarbled.
func Decode(path string, value any) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%w: %s is a symbolic link", ErrGarbled, path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(value); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrGarbled, path, err)
	}
	return nil
}

// ErrGarbled is a file of the agent's that does not hold what the agent wrote.
var ErrGarbled = errors.New("the file is garbled")

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

func ignore(err, sentinel error) error {
	if errors.Is(err, sentinel) {
		return nil
	}
	return err
}
