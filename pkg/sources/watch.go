package sources

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// changes is what the kernel told of a directory since it was last asked.
type changes struct {
	closed  []string // files that are complete: closed by their writer, renamed into place, or gone
	begun   []string // files that somebody is writing
	created []string // files of which it is not known whether anybody writes them; links are never written
	all     bool     // look at everything
}

const (
	dirEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_CREATE |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	upEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

// watcher follows a directory, or a file in its directory, through inotify(7) itself: fsnotify does not pass on
// IN_CLOSE_WRITE, by which a file is known to be complete without waiting. The nearest directory above that exists is
// watched too, so that one that appears or is exchanged is noticed.
type watcher struct {
	path string
	file *os.File

	mu  sync.Mutex
	dir int32  // watch descriptor; 0: none
	up  int32  // of the directory above
	way string // name below up that leads to the path
}

func openWatcher(path string) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot open inotify: %w", err)
	}
	return &watcher{path: filepath.Clean(path), file: os.NewFile(uintptr(fd), "inotify")}, nil
}

func (w *watcher) close() { w.file.Close() }

// arm puts the watches where they belong now. It may be called at any time.
func (w *watcher) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := []int32{w.dir, w.up}
	at := w.path
	if info, err := os.Stat(at); err == nil && !info.IsDir() {
		at = filepath.Dir(at)
	}
	w.dir = w.add(at, dirEvents)
	w.up = 0
	for w.up == 0 && at != "/" && at != "." {
		w.way = filepath.Base(at)
		at = filepath.Dir(at)
		w.up = w.add(at, upEvents)
	}
	for _, wd := range old {
		if wd != 0 && wd != w.dir && wd != w.up {
			w.control(func(fd int) { _, _ = unix.InotifyRmWatch(fd, uint32(wd)) }) // it may be gone with its directory
		}
	}
}

// add returns 0 when there is no such directory.
func (w *watcher) add(path string, mask uint32) int32 {
	var wd int
	w.control(func(fd int) {
		var err error
		if wd, err = unix.InotifyAddWatch(fd, path, mask); err != nil {
			wd = 0
		}
	})
	return int32(wd)
}

func (w *watcher) control(f func(fd int)) {
	if c, err := w.file.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { f(int(fd)) }) // fails once the file is closed: then nothing is watched
	}
}

// run sends what it hears until the watcher is closed or the context ends.
func (w *watcher) run(ctx context.Context, out chan<- changes) {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		c := w.parse(buf[:n])
		if len(c.closed)+len(c.begun)+len(c.created) == 0 && !c.all {
			continue
		}
		select {
		case out <- c:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) parse(buf []byte) changes {
	w.mu.Lock()
	defer w.mu.Unlock()
	var c changes
	for len(buf) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(buf))
		mask := binary.NativeEndian.Uint32(buf[4:])
		size := int(binary.NativeEndian.Uint32(buf[12:]))
		name := string(bytes.TrimRight(buf[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size], "\x00"))
		buf = buf[unix.SizeofInotifyEvent+size:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			c.all = true
		case mask&unix.IN_IGNORED != 0:
		case mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT) != 0:
			c.all = true
		case wd == w.up:
			c.all = c.all || name == w.way
		case wd != w.dir:
		case mask&unix.IN_ISDIR != 0:
		case strings.HasPrefix(name, "..") && mask&unix.IN_MOVED_TO != 0: // a link through which others lead
			c.all = true
		case mask&unix.IN_MODIFY != 0:
			c.begun = append(without(c.begun, name), name)
			c.closed = without(c.closed, name) // somebody writes it again
		case mask&unix.IN_CREATE != 0:
			c.created = append(c.created, name)
		default:
			c.closed = append(without(c.closed, name), name)
			c.begun = without(c.begun, name)
		}
	}
	return c
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return n == name })
}
