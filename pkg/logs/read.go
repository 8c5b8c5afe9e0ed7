package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/go-logr/logr"
	crilogs "k8s.io/cri-client/pkg/logs"
	"k8s.io/klog/v2"
)

// Options are those of v1.PodLogOptions that concern one log file.
type Options struct {
	Follow     bool // until the container ends or the context does
	Timestamps bool // before each line, RFC 3339
	Since      time.Time
	TailLines  *int64
	LimitBytes *int64
}

// Log is one file of a container's.
type Log struct {
	Path    string
	ID      string  // of the container that writes it; for Follow alone, as Running is
	Running Running // nil: nobody follows
}

// Running tells whether a container is running; while the runtime does not answer, it is taken to be.
type Running func(ctx context.Context, containerID string) (bool, error)

// errNoLog is the error of a log that is not there: the container was not started, or its log was removed.
var errNoLog = errors.New("there is no log")

// Read copies a log to stdout and stderr, which may be the same writer. The end of the context ends a follower without an
// error.
func Read(ctx context.Context, l Log, o Options, stdout, stderr io.Writer) error {
	awaitReopened(ctx, l.Path)
	var err error
	if o.Follow {
		err = follow(ctx, l, o, stdout, stderr)
	} else {
		opts := &crilogs.LogOptions{TailLines: o.TailLines, LimitBytes: o.LimitBytes, Since: o.Since, Timestamp: o.Timestamps}
		// The library logs lines that it cannot read, and with them what containers say.
		err = crilogs.ReadLogs(klog.NewContext(ctx, logr.Discard()), l.Path, l.ID, opts, nil, stdout, stderr)
	}
	switch {
	case err == nil || o.Follow && ctx.Err() != nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) || missing(l.Path):
		return fmt.Errorf("cannot read %s: %w: %w", l.Path, errNoLog, err)
	}
	return fmt.Errorf("cannot read log %s: %w", l.Path, err)
}

// reopening is how long a log that is rotated may have no file under its name: until the runtime has made the next one.
const reopening = time.Second

// awaitReopened waits for the next file of a log that is being rotated. Whether it came, who opens it sees.
func awaitReopened(ctx context.Context, path string) {
	if !missing(path) || !wasRotated(path) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reopening)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil && missing(path) {
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

// wasRotated reports whether there is an older file of a log; the one that is being rotated is not compressed.
func wasRotated(path string) (was bool) {
	_ = eachRotated(path, func(string) { was = true }) // what cannot be listed is not waited for
	return was
}

// Tail returns the end of a log: at most so many lines, and of them the last maxBytes bytes.
func Tail(path string, lines, maxBytes int) (string, error) {
	w := &lastBytes{max: maxBytes}
	err := Read(context.Background(), Log{Path: path}, Options{TailLines: new(int64(lines))}, w, w)
	return string(w.b), err
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	b   []byte
	max int
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if over := len(l.b) - l.max; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	return len(p), nil
}
