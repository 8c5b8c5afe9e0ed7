package cni

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// retryLock is how often a lock that another request or process holds is asked for again. It is rare: a runtime works
// on one sandbox at a time, so only a restart in the middle of a request leads here.
const retryLock = 5 * time.Millisecond

// lock is held on one container by whoever works on its network, across processes: a byte of one file that all share, so
// that no file is made and removed for each container. Plugins inherit the open file: when the agent is killed, the lock
// stays held until the last of its plugins is gone.
type lock struct{ f *os.File }

// errLocked says that someone else holds a lock that was not to be waited for.
var errLocked = errors.New("another request works on this container")

// take waits for the lock of a container until the context ends.
func take(ctx context.Context, path, containerID string) (*lock, error) {
	l, err := tryTake(path, containerID)
	if !errors.Is(err, errLocked) {
		return l, err
	}
	t := time.NewTicker(retryLock)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot lock the network of container %s: %w: %w", containerID, errLocked, ctx.Err())
		case <-t.C:
		}
		if l, err := tryTake(path, containerID); !errors.Is(err, errLocked) {
			return l, err
		}
	}
}

// tryTake does not wait: it returns errLocked.
func tryTake(path, containerID string) (*lock, error) {
	const flags = os.O_CREATE | os.O_RDWR | unix.O_NOFOLLOW
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			f, err = os.OpenFile(path, flags, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock file: %w", err)
	}
	// A lock of the open file, not of the process: each request has its own, and who inherits the file inherits the lock.
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: place(containerID), Len: 1})
	if err == nil {
		return &lock{f: f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("cannot lock %s: %w", path, err)
}

// place is the byte that stands for a container. Two that share one would wait for each other, and nothing else.
func place(containerID string) int64 {
	h := fnv.New64a()
	h.Write([]byte(containerID))
	return int64(h.Sum64() >> 2)
}

// release lets go.
func (l *lock) release() { l.f.Close() }
