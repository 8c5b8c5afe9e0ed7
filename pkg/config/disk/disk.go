// Package disk reads the files of a configuration from this machine, for pkg/config, which reads none itself.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minikubelet/minikubelet/pkg/config"
)

// maxFile bounds a configuration file, in bytes. Real ones have a few KiB.
const maxFile = 1 << 20

// Files reads the configuration from this machine's files.
func Files() config.Files { return config.Files{Read: read, Drops: dropIns} }

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if i, err := f.Stat(); err == nil && i.IsDir() {
		return nil, fmt.Errorf("%s is a directory: --config takes a file, --config-dir a directory", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New(path + " is larger than 1 MiB: is it a configuration?")
	}
	return data, err
}

// dropIns finds *.conf below a directory, as deep as they are, in the order of their paths.
func dropIns(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == dir && !d.IsDir() {
			return errors.New(path + " is no directory")
		}
		if !d.IsDir() && filepath.Ext(path) == ".conf" {
			out = append(out, path)
		}
		return nil
	})
	return out, err
}
