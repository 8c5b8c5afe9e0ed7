package stats

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

const (
	// maxLinked is how many files with several names a walk remembers. They count once. Of the files after them, each name
	// counts as its share of the file.
	maxLinked = 1 << 14
	// reportEvery is how many entries a walk counts between two reports.
	reportEvery = 256
)

// sum is what a walk has counted.
type sum struct {
	bytes, inodes float64 // a share of a file is no whole number
	linked        map[uint64]struct{}
}

func (s *sum) usage() Usage { return Usage{Bytes: int64(s.bytes + 0.5), Inodes: int64(s.inodes + 0.5)} }

func (s *sum) add(st *unix.Stat_t) {
	share := 1.0
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if _, again := s.linked[st.Ino]; again {
			return
		}
		if len(s.linked) < maxLinked {
			s.linked[st.Ino] = struct{}{}
		} else {
			share = 1 / float64(st.Nlink)
		}
	}
	s.bytes += share * float64(st.Blocks*512)
	s.inodes += share
}

// diskUsage sums the blocks of all that lies in a directory on its own file system. Pods write there while it is read, so
// nothing is followed out of the directory, and what vanishes meanwhile does not count. report is told now and then what was
// counted so far, and may take its time. A tree that is nested too deeply to be walked counts as all that its file system
// holds: it holds at most that, and no honest program makes one. With an error the usage is what was counted before it.
func diskUsage(ctx context.Context, dir string, report func(Usage)) (Usage, error) {
	var root unix.Stat_t
	if err := unix.Lstat(dir, &root); err != nil {
		return Usage{}, &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	s := sum{linked: map[uint64]struct{}{}}
	s.add(&root)
	n := 0
	err := hosttree.Walk(ctx, dir, func(e hosttree.Entry) error {
		if n++; n%reportEvery == 0 {
			report(s.usage())
		}
		var st unix.Stat_t
		if err := unix.Fstatat(e.Dir, e.Name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT); err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		if st.Dev != root.Dev {
			return fs.SkipDir
		}
		s.add(&st)
		return nil
	})
	if errors.Is(err, hosttree.ErrTooDeep) {
		return held(dir, s.usage()), nil
	}
	return s.usage(), err
}

// held is what the file system of a directory holds.
func held(dir string, least Usage) Usage {
	f, err := statfs(dir)
	if err != nil {
		return least
	}
	return Usage{
		Bytes:  max(least.Bytes, f.Bytes.Capacity-f.Bytes.Available),
		Inodes: max(least.Inodes, f.Inodes.Capacity-f.Inodes.Available),
	}
}
