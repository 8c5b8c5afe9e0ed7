package book

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// ErrGarbled is a file that does not hold what its owner wrote.
var ErrGarbled = errors.New("the file is garbled")

// most is the size of the largest file, in bytes. An API server keeps objects of 1.5 MiB at most.
const most = 64 << 20

// Book is the files of one kind below a directory. It holds no state: several processes may use one directory. A name
// is a path relative to Dir, with the file's ending.
type Book[T any] struct {
	Dir   string                       // "": a name is the whole path
	Mode  fs.FileMode                  // of directories that Open and Put make; 0: Put makes none
	Sync  atomicfile.Sync              // what is on the disk when Put returns
	Check func(name string, v T) error // says what is wrong with a value; nil: every value is right
}

// Open makes the directory and removes what killed writers left in it and below. Nobody may write there meanwhile.
func (b Book[T]) Open() error {
	if err := os.MkdirAll(b.Dir, b.Mode); err != nil {
		return err
	}
	return filepath.WalkDir(b.Dir, func(dir string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = atomicfile.Sweep(dir, 0)
		}
		return err
	})
}

// Names lists the files whose names match a pattern of path.Match, sorted. A directory that is not there holds none.
func (b Book[T]) Names(pattern string) ([]string, error) {
	entries, err := os.ReadDir(b.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch ok, err := path.Match(pattern, e.Name()); {
		case err != nil:
			return nil, err
		case ok:
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Put replaces a file.
func (b Book[T]) Put(name string, v T) error {
	file := filepath.Join(b.Dir, name)
	content, err := json.Marshal(&v) // a pointer, for a MarshalJSON that has a pointer as its receiver
	if err = errors.Join(err, fits(int64(len(content)))); err != nil {
		return fmt.Errorf("cannot encode %s: %w", file, err)
	}
	if b.Mode != 0 {
		if err := os.MkdirAll(filepath.Dir(file), b.Mode); err != nil {
			return fmt.Errorf("cannot write %s: %w", file, err)
		}
	}
	return atomicfile.Write(file, content, 0o600, b.Sync)
}

// Get reads a file. One that is not there is fs.ErrNotExist, one that cannot be used ErrGarbled.
func (b Book[T]) Get(name string) (T, error) {
	var v, none T
	file := filepath.Join(b.Dir, name)
	if err := Read(file, &v); err != nil {
		return none, err
	}
	if b.Check != nil {
		if err := b.Check(name, v); err != nil {
			return none, garbled(file, err)
		}
	}
	return v, nil
}

// Take is Get, and sets a garbled file aside. ErrGarbled then means that this is done.
func (b Book[T]) Take(name string) (T, error) {
	v, err := b.Get(name)
	if !errors.Is(err, ErrGarbled) {
		return v, err
	}
	file := filepath.Join(b.Dir, name)
	if err := os.Rename(file, file+".bad"); err != nil {
		return v, fmt.Errorf("cannot set a garbled file aside: %w", err)
	}
	return v, fmt.Errorf("%w (set aside as %s.bad)", err, file)
}

// Delete removes a file. One that is not there is no error.
func (b Book[T]) Delete(name string) error {
	if err := os.Remove(filepath.Join(b.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Read is Get for a value of any type. After an error, what it read into may hold a part.
func Read(file string, into any) error {
	info, err := os.Lstat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return garbled(file, fmt.Errorf("it is no regular file: its mode is %s", info.Mode()))
	case fits(info.Size()) != nil:
		return garbled(file, fits(info.Size()))
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return garbled(file, err)
	}
	return nil
}

func fits(size int64) error {
	if size > most {
		return fmt.Errorf("it has %d bytes, more than %d", size, most)
	}
	return nil
}

func garbled(file string, err error) error { return fmt.Errorf("%w: %s: %w", ErrGarbled, file, err) }
