package hosttree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// chunk is how much of a directory is read at a time, in bytes: some hundred names of usual length.
const chunk = 8 << 10

// dir is an open directory that is read piece by piece.
type dir struct {
	fd   int
	next int64 // where to read on after the entry that was returned last, as lseek takes it
	buf  [chunk]byte
	part []byte // of buf: what is not returned yet
}

// dirent is one entry as its directory has it.
type dirent struct {
	name string
	ino  uint64
	kind byte // DT_UNKNOWN where the file system does not tell
}

func (e dirent) maybeDir() bool { return e.kind == unix.DT_DIR || e.kind == unix.DT_UNKNOWN }

// use makes d read an open directory from a position on.
func (d *dir) use(fd int, from int64) error {
	d.fd, d.next, d.part = fd, from, nil
	if _, err := unix.Seek(fd, from, unix.SEEK_SET); err != nil {
		return err
	}
	return nil
}

func (d *dir) close() { unix.Close(d.fd) } //nolint:errcheck // only read

// read returns the next entry; ok is false at the end. The end of a directory that was removed meanwhile is an end, too.
func (d *dir) read() (e dirent, ok bool, err error) {
	const header = 19 // linux_dirent64: inode 8, position of the next 8, length 2, type 1, name with a zero at its end
	for {
		if len(d.part) < header {
			n, err := unix.Getdents(d.fd, d.buf[:])
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.ENOENT):
				return dirent{}, false, nil
			case err != nil:
				return dirent{}, false, err
			case n < header:
				return dirent{}, false, nil
			}
			d.part = d.buf[:n]
		}
		size := int(binary.NativeEndian.Uint16(d.part[16:]))
		if size < header || size > len(d.part) {
			return dirent{}, false, unix.EBADMSG
		}
		entry := d.part[:size]
		d.part = d.part[size:]
		d.next = int64(binary.NativeEndian.Uint64(entry[8:]))
		name, _, _ := bytes.Cut(entry[header:], []byte{0})
		if string(name) == "." || string(name) == ".." {
			continue
		}
		return dirent{name: string(name), ino: binary.NativeEndian.Uint64(entry), kind: entry[18]}, true, nil
	}
}

// Openat2 is the system call, made again when a signal or a rename beside it interrupts it.
func Openat2(dirfd int, name string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for {
		fd, err := unix.Openat2(dirfd, name, &how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // EAGAIN: a rename raced with the walk
			continue
		case errors.Is(err, unix.ENOSYS):
			return -1, fmt.Errorf("openat2: %w (Linux 5.6 or newer is needed)", err)
		}
		return fd, err
	}
}

// openDir opens a directory in another. One that is a mount point is EXDEV.
func openDir(dirfd int, name string) (int, error) {
	return Openat2(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_SYMLINKS)
}

// pathError names a file in an error: by its path as the kernel has it, or, where that is too long to be read, by the root of
// the tree and the file's own name.
func pathError(op, root string, dirfd int, name string, err error) error {
	return &os.PathError{Op: op, Path: pathOf(root, dirfd, name), Err: err}
}

const longestPath = 512 // bytes of a path in an error

func pathOf(root string, dirfd int, name string) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dirfd))
	if err != nil || len(path)+len(name) > longestPath {
		path = root + "/..."
	}
	if name != "." {
		path += "/" + name
	}
	return strings.ToValidUTF8(path, "?")
}
