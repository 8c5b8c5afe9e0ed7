package setup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// record is what was installed.
type record struct {
	Files map[string]string `json:"files"` // SHA-256 by path
	Dirs  []string          `json:"dirs"`  // in the order in which they were made
}

func readRecord(path string) (*record, error) {
	r := &record{Files: map[string]string{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was installed from %s: %w: remove that file, and every file that is there is taken for yours", path, err)
	}
	if r.Files == nil {
		r.Files = map[string]string{}
	}
	return r, nil
}

func (r *record) made(dir string) {
	if !slices.Contains(r.Dirs, dir) {
		r.Dirs = append(r.Dirs, dir)
	}
}

func (r *record) save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return replace(path, 0o600, text(string(b)+"\n"))
}

// open opens a file; without one there it is nil.
func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// sumOf is the SHA-256 of a content, "" when there is none.
func sumOf(content func() (io.ReadCloser, error)) (string, error) {
	in, err := content()
	if in == nil || err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, in)
	if err := errors.Join(err, in.Close()); err != nil {
		return "", fmt.Errorf("cannot read a file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// replace writes a file so that it is there as a whole or not at all.
func replace(path string, mode fs.FileMode, content func() (io.ReadCloser, error)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot make a directory: %w", err)
	}
	in, err := content()
	if err != nil {
		return err
	}
	if in == nil {
		return fmt.Errorf("cannot write %s: what goes there is gone", path)
	}
	defer in.Close()
	return atomicfile.Copy(path, in, mode, atomicfile.Content)
}

// makeDir makes a directory if it is not there, and reports whether it did.
func makeDir(path string, mode fs.FileMode) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return false, fmt.Errorf("cannot make the directory %s: there is a file of that name", path)
	case err == nil:
		return false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("cannot make a directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return false, fmt.Errorf("cannot make a directory: %w", err)
	}
	return true, os.Chmod(path, mode)
}
