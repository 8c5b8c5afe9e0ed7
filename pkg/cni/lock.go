package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// retryLock is how often a lock that another request or process holds is asked for again. It is rare: a runtime works
// on one sandbox at a time, so only a restart in the middle of a request leads here.
const retryLock = 5 * time.Millisecond

// lock is held on one container by whoever works on its network, across processes. Plugins inherit the file: when the
// agent is killed, the lock stays held until the last of its plugins is gone.
type lock struct{ f *os.File }

// errLocked says that someone else holds a lock that was not to be waited for.
var errLocked = errors.New("another request works on this container")

// take waits for the lock of a container, which must be a checked name, until the context ends.
func take(ctx context.Context, dir, containerID string) (*lock, error) {
	l, err := tryTake(dir, containerID)
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
		if l, err := tryTake(dir, containerID); !errors.Is(err, errLocked) {
			return l, err
		}
	}
}

// tryTake does not wait: it returns errLocked.
func tryTake(dir, containerID string) (*lock, error) {
	path := filepath.Join(dir, containerID)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open a lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	// The holder before may have removed the file on its way out: then this lock protects nothing.
	mine, err := f.Stat()
	if err == nil {
		var current os.FileInfo
		if current, err = os.Stat(path); err == nil && os.SameFile(mine, current) {
			return &lock{f: f}, nil
		}
	}
	f.Close()
	return nil, errLocked
}

// release lets go; forget also removes the file, when nothing of the container is left in the journal.
func (l *lock) release(forget bool) {
	if forget {
		os.Remove(l.f.Name())
	}
	l.f.Close()
}
