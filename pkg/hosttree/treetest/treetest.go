// Package treetest makes trees of files that no agent wants to meet, and measures what it takes to work on them.
package treetest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Deep makes nested directories with names of 255 bytes, and a file in the innermost.
func Deep(tb testing.TB, dir string, levels int) {
	tb.Helper()
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	name := strings.Repeat("d", 255)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(at, name, 0o755)
		}
		if err != nil {
			break
		}
		var below int
		below, err = unix.Openat(at, name, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
		unix.Close(at)
		at = below
	}
	if err == nil {
		var f int
		if f, err = unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644); err == nil {
			unix.Close(f)
		}
	}
	unix.Close(at)
	if err != nil {
		tb.Fatal(err)
	}
}

// Wide makes empty files in one directory.
func Wide(tb testing.TB, dir string, files int) {
	tb.Helper()
	for i := range files {
		fd, err := unix.Open(fmt.Sprintf("%s/%08d", dir, i), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			tb.Fatal(err)
		}
		unix.Close(fd)
	}
}

// Plain makes a tree as programs do: directories side by side with small files.
func Plain(tb testing.TB, dir string, dirs, files int) {
	tb.Helper()
	for i := range dirs {
		sub := filepath.Join(dir, fmt.Sprint("dir", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			tb.Fatal(err)
		}
		Wide(tb, sub, files)
	}
}

// Most is what a function had at most at any time, beyond what was there before it.
type Most struct {
	Heap int64 // bytes
	FDs  int
}

// Watch runs a function and samples the heap and the open descriptors of the process meanwhile.
func Watch(tb testing.TB, f func()) Most {
	tb.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // so that what is sampled is in use, and not garbage
	runtime.GC()
	base := sample(tb)
	var most Most
	done, over := make(chan struct{}), make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(done) }); <-over }
	defer end()
	go func() {
		defer close(over)
		for {
			now := sample(tb)
			most.Heap, most.FDs = max(most.Heap, now.Heap-base.Heap), max(most.FDs, now.FDs-base.FDs)
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	end()
	return most
}

func sample(tb testing.TB) Most {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Error(err)
	}
	return Most{Heap: int64(m.HeapAlloc), FDs: len(open)}
}

// Memory is a directory on a file system in memory, for trees whose making takes long on a disk.
func Memory(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		tb.Fatalf("mounting needs root: %v", err)
	}
	tb.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
