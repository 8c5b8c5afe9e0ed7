package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	minSize     = 16 << 20
	defaultSize = 64 << 20
	maxSize     = 1 << 40
)

// images are the volumes' files: <dir>/<volume id>.img, sparse, as large as the volume. A file beside it, .ephemeral,
// says that the volume ends with its unpublish; one named .attached holds the node that it is published to.
type images struct{ dir string }

var volumeID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// idOf makes an id of a volume's name, which may hold anything.
func idOf(name string) string { return fmt.Sprintf("vol-%x", sha256.Sum256([]byte(name)))[:36] }

// path refuses ids that could leave the directory.
func (im images) path(id string) (string, error) {
	if !volumeID.MatchString(id) {
		return "", fmt.Errorf("volume id %q: %w", id, fs.ErrNotExist)
	}
	return filepath.Join(im.dir, id+".img"), nil
}

// size of a volume in bytes; fs.ErrNotExist when there is none.
func (im images) size(id string) (int64, error) {
	p, err := im.path(id)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(p)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ensure creates a volume of size bytes unless it is there already.
func (im images) ensure(id string, size int64) error {
	p, err := im.path(id)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = f.Truncate(size)
	}
	return errors.Join(err, f.Close())
}

// remove deletes a volume and its marks. One that is not there is removed.
func (im images) remove(id string) error {
	p, err := im.path(id)
	if err != nil {
		return nil
	}
	for _, name := range []string{p, mark(p, "ephemeral"), mark(p, "attached")} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (im images) setMark(id, kind, value string) error {
	p, err := im.path(id)
	if err != nil {
		return err
	}
	return os.WriteFile(mark(p, kind), []byte(value), 0o600)
}

func (im images) clearMark(id, kind string) error {
	p, err := im.path(id)
	if err != nil {
		return nil
	}
	if err := os.Remove(mark(p, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mark returns a mark's value, and whether it is set.
func (im images) mark(id, kind string) (string, bool) {
	p, err := im.path(id)
	if err != nil {
		return "", false
	}
	b, err := os.ReadFile(mark(p, kind))
	return string(b), err == nil
}

func mark(image, kind string) string { return strings.TrimSuffix(image, ".img") + "." + kind }
