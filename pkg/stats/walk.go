package stats

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// restFactor bounds what walking costs: a directory is left alone for this many times as long as its last walk took.
const restFactor = 20

// walks remembers what directories held when they were walked last.
type walks struct {
	mu   sync.Mutex
	last map[string]walk
}

type walk struct {
	usage Usage
	due   time.Time // not walked again before this
}

// usage is what the files below a directory take; zero when there is no such directory.
func (w *walks) usage(ctx context.Context, dir string) Usage {
	began := time.Now()
	w.mu.Lock()
	last, known := w.last[dir]
	w.mu.Unlock()
	if known && began.Before(last.due) {
		return last.usage
	}
	used, err := diskUsage(ctx, dir)
	if err != nil && known {
		return last.usage
	}
	now := time.Now()
	w.mu.Lock()
	w.last[dir] = walk{usage: used, due: now.Add(restFactor * now.Sub(began))}
	w.mu.Unlock()
	return used
}

// forget drops what is known of all other directories.
func (w *walks) forget(others []string) {
	slices.Sort(others)
	w.mu.Lock()
	defer w.mu.Unlock()
	for dir := range w.last {
		if _, found := slices.BinarySearch(others, dir); !found {
			delete(w.last, dir)
		}
	}
}

// diskUsage sums the blocks of all that lies in a directory on its own file system; hard links count once. Pods write
// there while it is read, so nothing is followed out of the directory, and what vanishes meanwhile does not count.
func diskUsage(ctx context.Context, dir string) (Usage, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Usage{}, err
	}
	defer root.Close() //nolint:errcheck // only read
	var used Usage
	var device uint64
	linked := map[uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d == nil {
			return err
		}
		info, infoErr := d.Info()
		if err != nil || infoErr != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if path == "." {
			device = st.Dev
		}
		switch {
		case st.Dev != device:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case st.Nlink > 1 && !d.IsDir():
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		used.add(Usage{Bytes: st.Blocks * 512, Inodes: 1})
		return nil
	})
	return used, err
}
