package hostfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Encode replaces path by the JSON form of value, mode 0600. With sync, the content and the name are on the disk when it
// returns. Readers see the old or the new content, never a part.
func Encode(path string, value any, sync bool) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	if err := replace(path, b, sync); err != nil {
		return Explain(fmt.Errorf("cannot write %s: %w", path, err))
	}
	return nil
}

func replace(path string, b []byte, sync bool) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(os.Remove(f.Name()), fs.ErrNotExist))
		}
	}()
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if sync {
		return SyncDir(dir)
	}
	return nil
}

// RemoveEncoded removes a file that Encode wrote, and what writers of it that were killed left half-written beside it. No
// other may write it meanwhile. A file that is not there is no error.
func RemoveEncoded(path string) error {
	dir, half := filepath.Dir(path), "."+filepath.Base(path)+"."
	entries, err := os.ReadDir(dir)
	errs := []error{ignore(err, fs.ErrNotExist), ignore(os.Remove(path), fs.ErrNotExist)}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), half) {
			errs = append(errs, ignore(os.Remove(filepath.Join(dir, e.Name())), fs.ErrNotExist))
		}
	}
	return errors.Join(errs...)
}

// SyncDir puts the names in a directory on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
