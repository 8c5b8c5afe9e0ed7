package stats

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Device is the name of a block device, "" for one that the kernel does not list: /dev/vda.
func Device(major, minor uint32) string {
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if err != nil {
		return ""
	}
	return "/dev/" + filepath.Base(link)
}

// Devices are those that the node's file system and that of images lie on; "" where they lie on none, or on several.
func (s *Source) Devices() (node, image string) {
	of := func(dir string) string {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			return ""
		}
		return Device(unix.Major(st.Dev), unix.Minor(st.Dev))
	}
	return of(s.cfg.RootDir), of(s.cfg.ImageDir)
}
