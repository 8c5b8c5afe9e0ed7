package logs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// askEvery is how often a follower asks whether the container still runs.
	askEvery = time.Second
	// lastWords is how long a runtime may go on writing into a file after it has made the next one.
	lastWords = 100 * time.Millisecond
	// stampFormat is of times before lines: RFC 3339 with all nine digits.
	stampFormat = "2006-01-02T15:04:05.000000000Z07:00"
)

// errFull ends a follower that has written as many bytes as were asked for.
var errFull = errors.New("the limit is reached")

// follower copies a log while it is written. Unlike the library's it reads a file that was rotated to its very end before
// it goes on with the next one, and goes through all that were rotated meanwhile.
//
//	read to the end --nothing new--> wait --written--> read to the end
//	                --a newer file--> lastWords --> read to the end --> open the next
//	                --the container has ended--> read to the end --> done
type follower struct {
	path   string
	o      Options
	outs   map[string]io.Writer // by the name of the stream
	left   int64                // bytes that may still be written
	within bool                 // a line was begun and not ended

	f    *os.File
	r    *bufio.Reader
	part []byte // of a record that is not written to its end yet
}

// follow copies a log until the container ends, which is no error, nor is the end of the context.
func follow(ctx context.Context, log Log, o Options, stdout, stderr io.Writer) error {
	path, err := filepath.EvalSymlinks(log.Path)
	if err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch it: %w", err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(path)); err != nil {
		return fmt.Errorf("cannot watch it: %w", err)
	}
	l := &follower{path: path, o: o, outs: map[string]io.Writer{"stdout": stdout, "stderr": stderr}, left: math.MaxInt64}
	if o.LimitBytes != nil {
		l.left = *o.LimitBytes
	}
	defer func() { l.close() }()
	if err := l.begin(); err != nil {
		return err
	}
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for due := true; ctx.Err() == nil; {
		if err := l.all(ctx); err != nil {
			return l.result(err)
		}
		if due {
			if alive, err := log.Running(ctx, log.ID); err == nil && !alive {
				return l.finish(ctx)
			}
		}
		due = false
		select {
		case <-ctx.Done():
		case <-w.Events:
		case err := <-w.Errors: // an overflow: something happened
			slog.Debug("following a log", "path", log.Path, "error", err)
		case <-ask.C:
			due = true
		}
	}
	return nil
}

// result is the outcome for who follows: to have read as much as was asked for is none.
func (l *follower) result(err error) error {
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}

func (l *follower) close() {
	if l.f != nil {
		l.f.Close()
	}
}

// begin opens the log where the reading begins.
func (l *follower) begin() error {
	if err := l.open(l.path); err != nil {
		return err
	}
	if l.o.TailLines == nil {
		return nil
	}
	at, err := tailOffset(l.f, *l.o.TailLines)
	if err == nil {
		_, err = l.f.Seek(at, io.SeekStart)
	}
	return err
}

func (l *follower) open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	l.close()
	l.f, l.r, l.part = f, bufio.NewReader(f), nil
	return nil
}

// all reads to the end of the newest file.
func (l *follower) all(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.drain(); err != nil {
			return err
		}
		next, err := l.next()
		if err != nil || next == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lastWords):
		}
		if err := l.drain(); err != nil {
			return err
		}
		if err := l.open(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // rotated again: another look
			return err
		}
	}
	return nil
}

// finish reads what is there after the container has ended, a record without an end included.
func (l *follower) finish(ctx context.Context) error {
	err := l.all(ctx)
	if err == nil && len(l.part) > 0 {
		err = l.write(l.part)
	}
	return l.result(err)
}

// drain reads to the end of the file.
func (l *follower) drain() error {
	for {
		b, err := l.r.ReadBytes('\n')
		l.part = append(l.part, b...)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := l.write(l.part); err != nil {
			return err
		}
		l.part = l.part[:0]
	}
}

// next is the file after the one that is read; "" when that is the one that is written.
func (l *follower) next() (string, error) {
	mine, err := l.f.Stat()
	if err != nil {
		return "", err
	}
	newest, err := os.Stat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // being rotated, or removed
		return "", nil
	case err != nil:
		return "", err
	case os.SameFile(mine, newest):
		return "", nil
	}
	var read, next string
	err = eachRotated(l.path, func(path string) {
		if i, err := os.Stat(path); err == nil && os.SameFile(mine, i) {
			read = path
		}
	})
	if err == nil && read != "" {
		err = eachRotated(l.path, func(path string) {
			if path > read && (next == "" || path < next) { // by time
				next = path
			}
		})
	}
	return cmp.Or(next, l.path), err
}

// eachRotated calls f for each rotated file of a log that is not compressed.
func eachRotated(log string, f func(path string)) error {
	dir := filepath.Dir(log)
	err := eachName(dir, func(name string) {
		path := filepath.Join(dir, name)
		if stamp, ok := strings.CutPrefix(path, log+"."); ok && isStamp(stamp) {
			f(path)
		}
	})
	if errors.Is(err, fs.ErrNotExist) { // being removed
		return nil
	}
	return err
}

// write copies one record, if it is one and new enough.
func (l *follower) write(record []byte) error {
	at, stream, text, ok := parseRecord(record)
	if !ok || at.Before(l.o.Since) || l.outs[stream] == nil {
		return nil
	}
	if l.o.Timestamps && !l.within {
		text = append(append(at.AppendFormat(nil, stampFormat), ' '), text...)
	}
	l.within = !bytes.HasSuffix(text, []byte{'\n'})
	text = text[:min(int64(len(text)), l.left)]
	if _, err := l.outs[stream].Write(text); err != nil {
		return err
	}
	if l.left -= int64(len(text)); l.left <= 0 {
		return errFull
	}
	return nil
}

// parseRecord reads a record of the CRI log format: time, stream, tags and text. One that is a part of a line (P) has no
// newline at its end.
func parseRecord(record []byte) (at time.Time, stream string, text []byte, ok bool) {
	parts := bytes.SplitN(record, []byte{' '}, 4)
	if len(parts) != 4 {
		return at, "", nil, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(parts[0]))
	tag, _, _ := bytes.Cut(parts[2], []byte{':'})
	stream = string(parts[1])
	if err != nil || stream != "stdout" && stream != "stderr" {
		return at, "", nil, false
	}
	text = parts[3]
	if string(tag) == "P" {
		text = bytes.TrimSuffix(text, []byte{'\n'})
	}
	return at, stream, text, true
}

// tailOffset is where the last n records of a file begin. One that is not written to its end does not count.
func tailOffset(f *os.File, n int64) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n <= 0 {
		return end, err
	}
	block := make([]byte, 4096)
	ends := n + 1 // of the last n records, and of the one before them
	for at := end; at > 0; {
		size := min(at, int64(len(block)))
		at -= size
		if _, err := f.ReadAt(block[:size], at); err != nil {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if block[i] != '\n' {
				continue
			}
			if ends--; ends == 0 {
				return at + i + 1, nil
			}
		}
	}
	return 0, nil
}
