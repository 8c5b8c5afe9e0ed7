package cgroupstat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is how many the kernel counts in a second where it counts for programs (USER_HZ).
const ticks = 100

// Made is when a group was made, as far as the kernel tells: the directory's own time moves when a group is made in it, a
// file's is that of when somebody first looked at it.
func Made(dir string) time.Time {
	var first time.Time
	for _, path := range []string{dir, dir + "/cgroup.procs"} {
		if st, err := os.Stat(path); err == nil && (first.IsZero() || st.ModTime().Before(first)) {
			first = st.ModTime()
		}
	}
	return first
}

// Started is when a process has started, and zero when that cannot be read.
func Started(pid int, boot time.Time) time.Time {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}
	}
	after, ok := startTicks(string(b))
	if !ok {
		return time.Time{}
	}
	return boot.Add(time.Duration(after) * (time.Second / ticks))
}

// startTicks reads the 22nd field of /proc/<pid>/stat. The second is a name in brackets, in which there may be anything.
func startTicks(stat string) (int64, bool) {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(f[19], 10, 64)
	return n, err == nil
}
