package cgroupstat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// unlimited is where v1's limits begin that are none: the largest number of pages, as bytes.
const unlimited = 1 << 62

// file reads a whole file of a group. The bytes are good until the next call.
func (r *Reader) file(dir, name string) ([]byte, error) {
	if dir == "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	r.path = append(append(append(r.path[:0], dir...), '/'), name...)
	fd, err := open(string(r.path))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: string(r.path), Err: err}
	}
	defer unix.Close(fd)
	if r.buf == nil {
		r.buf = make([]byte, 8<<10)
	}
	for n := 0; ; {
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		got, err := unix.Read(fd, r.buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: string(r.path), Err: err}
		case got <= 0:
			return r.buf[:n], nil
		default:
			n += got
		}
	}
}

func open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, os.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// number reads a file that holds one number.
func (r *Reader) number(dir, name string, into *uint64) error {
	b, err := r.file(dir, name)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", r.path, err)
	}
	*into = n
	return nil
}

// limit reads a file that holds a limit; nil where there is none.
func (r *Reader) limit(dir, name string) *uint64 {
	var n uint64
	if err := r.number(dir, name, &n); err != nil || n >= unlimited { // v2 says "max"
		return nil
	}
	return &n
}

// field is a number in a file of keys and numbers.
type field struct {
	key  string
	into *uint64
}

// keys reads the numbers behind the keys that begin lines. A key that is not there leaves its number alone.
func (r *Reader) keys(dir, name string, fields ...field) error {
	b, err := r.file(dir, name)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		for _, f := range fields {
			if !ok || string(key) != f.key {
				continue
			}
			if *f.into, err = strconv.ParseUint(string(value), 10, 64); err != nil {
				return fmt.Errorf("cannot read %s of %s: %w", key, r.path, err)
			}
		}
	}
	return nil
}

// stall reads a file of pressures, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the same for full; nil where the
// kernel measures none.
func (r *Reader) stall(dir, name string) *Stall {
	b, err := r.file(dir, name)
	if err != nil {
		return nil
	}
	var s Stall
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		into := &s.Some
		if len(f) > 0 && string(f[0]) == "full" {
			into = &s.Full
		}
		for _, pair := range f[min(1, len(f)):] {
			into.set(pair)
		}
	}
	return &s
}

// set takes one of a line's pairs: avg10=0.00.
func (s *Share) set(pair []byte) {
	key, value, _ := bytes.Cut(pair, []byte{'='})
	switch string(key) {
	case "avg10":
		s.Avg10, _ = strconv.ParseFloat(string(value), 64)
	case "avg60":
		s.Avg60, _ = strconv.ParseFloat(string(value), 64)
	case "avg300":
		s.Avg300, _ = strconv.ParseFloat(string(value), 64)
	case "total":
		s.Total, _ = strconv.ParseUint(string(value), 10, 64)
	}
}
