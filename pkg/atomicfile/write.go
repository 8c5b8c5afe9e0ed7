package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sync is what is on the disk when a write returns: what a power cut leaves. For a crash of the agent alone None does.
type Sync int

const (
	None    Sync = iota // nothing yet: after a power cut the file may be old, new or empty
	Content             // the content: after a power cut the file is old or new
	Name                // the content and the name: after a power cut the file is new
)

// SyncIf is Name where it holds, else None.
func SyncIf(durable bool) Sync {
	if durable {
		return Name
	}
	return None
}

// prefix begins the names of files that are being written, and of those whose writer was killed.
const prefix = ".new-"

// Write replaces the file at path, whose directory must be there. The mode is the file's whatever the umask is. Several may
// write one file at once, in several processes: the last wins. The error names the file.
func Write(path string, b []byte, mode fs.FileMode, sync Sync) error {
	return Copy(path, bytes.NewReader(b), mode, sync)
}

// Copy is Write of what a reader has, in pieces.
func Copy(path string, from io.Reader, mode fs.FileMode, sync Sync) error {
	if err := replace(path, from, mode, sync); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func replace(path string, from io.Reader, mode fs.FileMode, sync Sync) error {
	f, err := os.CreateTemp(filepath.Dir(path), prefix+"*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	err = errors.Join(err, f.Chmod(mode))
	if err == nil && sync >= Content {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if sync >= Name {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// SyncDir puts the names in a directory on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sweep removes what killed writers left in a directory, not below it: files that were written to last at least age ago.
// An age of 0 is for a directory in which nobody else writes at the time. A directory that is not there is no error.
func Sweep(dir string, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	errs := []error{gone(err)}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); age > 0 && (err != nil || time.Since(info.ModTime()) < age) {
			errs = append(errs, gone(err))
			continue
		}
		errs = append(errs, gone(os.Remove(filepath.Join(dir, e.Name()))))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove what was left half-written: %w", err)
	}
	return nil
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
