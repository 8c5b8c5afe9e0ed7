package hostfs

import (
	"context"
	"io/fs"
	"os"
	"syscall"
)

// Measure counts the bytes of blocks in use below a directory, as du does, and its inodes. It follows no link.
func Measure(ctx context.Context, path string) (bytes, inodes int64, err error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	linked := map[uint64]bool{} // inodes with several names count once
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return ignore(err, fs.ErrNotExist)
		}
		info, err := d.Info()
		if err != nil {
			return ignore(err, fs.ErrNotExist)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || linked[st.Ino] {
			return nil
		}
		if st.Nlink > 1 && !d.IsDir() {
			linked[st.Ino] = true
		}
		bytes += st.Blocks * 512
		inodes++
		return nil
	})
	return bytes, inodes, err
}
