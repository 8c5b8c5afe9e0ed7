package hostfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files are files by their slash-separated path in a directory.
type Files map[string]File

// File is one file of a directory that WriteFiles writes.
type File struct {
	Data []byte
	Mode fs.FileMode
	UID  *int64 // nil: root's
}

// Add adds a file at a path as a specification may write it, such as ./conf.d//app.ini. A path that leaves the directory or
// begins with ".." is an error, as it is to the API.
func (f Files) Add(name string, file File) error {
	switch {
	case name == "", path.IsAbs(name), slices.Contains(strings.Split(name, "/"), ".."), path.Clean(name) == ".":
		return fmt.Errorf("path %q is not a plain relative path: use one without \"..\", such as conf/app.ini", name)
	case strings.HasPrefix(name, ".."):
		return fmt.Errorf("path %q must not begin with \"..\"", name)
	}
	f[path.Clean(name)] = file
	return nil
}

// Shown is what a directory that WriteFiles writes shows.
type Shown struct {
	Files  Files
	Points []string // mount points in the directory (see MakePoint): updates leave them
	Keep   []string // names of versions that stay although they are shown no more
}

const (
	dataLink = "..data" // what readers see: a link to the current version's directory
	dataNext = "..data_next"
)

// WriteFiles makes a directory show exactly these files, all at once: a new version is written beside the old one and a link
// is swapped, so a reader never sees a mix. What already is as it should be is left alone. finish is applied to the new
// version before it is seen.
//
//	dir/a.conf -> ..data/a.conf    dir/..data -> ..2026_01_31_12_00_00.123    dir/..2026_01_31_12_00_00.123/a.conf
func WriteFiles(dir string, s Shown, now time.Time, finish func(version string) error) error {
	for name := range s.Files {
		if err := checkTarget(name); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	current, err := shownVersion(root)
	if err != nil {
		return err
	}
	if current == "" || !same(root, current, s.Files) {
		if current, err = writeVersion(root, dir, s.Files, now, finish); err != nil {
			return Explain(fmt.Errorf("cannot write the volume's files: %w", err))
		}
	}
	if err := show(root, current, s.Points); err != nil {
		return Explain(fmt.Errorf("cannot link the volume's files: %w", err))
	}
	return pruneVersions(root, append(s.Keep, current))
}

// shownVersion is the version that readers see; "" for none yet.
func shownVersion(root *os.Root) (string, error) {
	current, err := root.Readlink(dataLink)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot use %s: it is no link of the agent's: %w", filepath.Join(root.Name(), dataLink), err)
	}
	return current, nil
}

// checkTarget refuses a path that leaves the directory.
func checkTarget(name string) error {
	if name == "." || !filepath.IsLocal(name) || path.Clean(name) != name {
		return fmt.Errorf("path %q is not a plain relative path: use one without \"..\", such as conf/app.ini", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if err := CheckComponent(part); err != nil {
			return err
		}
	}
	return nil
}

func writeVersion(root *os.Root, dir string, files Files, now time.Time, finish func(string) error) (_ string, err error) {
	made, err := os.MkdirTemp(dir, now.UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return "", err
	}
	name := filepath.Base(made)
	defer func() {
		if err != nil {
			err = errors.Join(err, root.RemoveAll(name))
		}
	}()
	if err := root.Chmod(name, 0o755); err != nil {
		return "", err
	}
	version, err := root.OpenRoot(name)
	if err != nil {
		return "", err
	}
	defer version.Close()
	for target, f := range files {
		if err := writeFile(version, target, f); err != nil {
			return "", err
		}
	}
	if err := finish(made); err != nil {
		return "", err
	}
	if err := root.Remove(dataNext); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := root.Symlink(name, dataNext); err != nil {
		return "", err
	}
	return name, root.Rename(dataNext, dataLink)
}

func writeFile(version *os.Root, name string, f File) error {
	if d := path.Dir(name); d != "." {
		if err := version.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := version.WriteFile(name, f.Data, 0o600); err != nil {
		return err
	}
	if f.UID != nil {
		if err := version.Lchown(name, int(*f.UID), -1); err != nil {
			return err
		}
	}
	return version.Chmod(name, f.Mode)
}

// same reports whether a version holds exactly these files with this content, mount points aside. Modes follow from the
// specification, which does not change.
func same(root *os.Root, version string, files Files) bool {
	if CheckComponent(version) != nil {
		return false
	}
	found := 0
	err := fs.WalkDir(root.FS(), version, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || isFilePoint(d) {
			return err
		}
		want, ok := files[strings.TrimPrefix(name, version+"/")]
		if !ok || !d.Type().IsRegular() {
			return fs.ErrInvalid
		}
		got, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want.Data) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(files)
}
