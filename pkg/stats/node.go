package stats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Config says where to look. Every function may be called from any goroutine.
type Config struct {
	MemoryRoot string // directory of the root memory cgroup
	V2         bool   // MemoryRoot is cgroup v2
	RootDir    string // the agent's directory, on the node's file system: /var/lib/kubelet
	LogDir     string // /var/log/pods
	ImageDir   string // where the runtime keeps images, on the image file system; "" is RootDir

	PodCgroup  func(uid types.UID, controller string) string     // directory of a pod's cgroup, "": none; "memory" and "pids" are asked for
	Containers func(ctx context.Context) ([]RuntimeUsage, error) // the runtime's statistics; nil: unknown
}

// RuntimeUsage is what the runtime says of one running container. Sizes are in bytes.
type RuntimeUsage struct {
	Pod            types.UID
	Container      string
	WorkingSet     int64
	Writable       int64 // writable layer
	WritableInodes int64
}

// Node is what the node has and uses.
type Node struct {
	Memory   Amount // working set against what the machine has
	Nodefs   FS
	Imagefs  FS
	Shared   bool // images and pods' data lie on one file system
	PIDs     Amount
	MemoryWS int64  // working set of the whole node
	Swap     Amount // of all swap devices; without one, of no capacity
}

// Amount is how much is left of how much.
type Amount struct{ Available, Capacity int64 }

// FS is a file system: bytes, and inodes where it has a fixed number of them.
type FS struct {
	Bytes  Amount
	Inodes Amount
	Used   int64 // bytes; with what is available, less than the capacity where some is kept for root
}

// Source measures.
type Source struct {
	cfg   Config
	walks *walks
}

// New returns a source of measurements. Nothing is read yet. Disk needs Run.
func New(cfg Config) *Source {
	if cfg.ImageDir == "" {
		cfg.ImageDir = cfg.RootDir
	}
	return &Source{cfg: cfg, walks: newWalks()}
}

// Run walks the directories of pods for Disk until the context ends.
func (s *Source) Run(ctx context.Context) { s.walks.run(ctx) }

// Node measures the node. What cannot be measured stays zero and is in the error; the rest holds.
func (s *Source) Node(context.Context) (Node, error) {
	var n Node
	var errs [4]error
	n.Memory, n.MemoryWS, errs[0] = s.memory()
	var node, image unix.Stat_t
	n.Nodefs, errs[1] = statfs(s.cfg.RootDir)
	n.Imagefs, errs[2] = statfs(s.cfg.ImageDir)
	if unix.Stat(s.cfg.RootDir, &node) == nil && unix.Stat(s.cfg.ImageDir, &image) == nil {
		n.Shared = node.Dev == image.Dev
	}
	n.PIDs, errs[3] = pids()
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		n.Swap = Amount{Available: int64(info.Freeswap) * int64(info.Unit), Capacity: int64(info.Totalswap) * int64(info.Unit)}
	}
	return n, errors.Join(errs[:]...)
}

// memory is what the machine has less its working set: what is used and not merely cached without having been read
// twice. It is the kubelet's memory.available, which is not the kernel's MemAvailable.
func (s *Source) memory() (Amount, int64, error) {
	total, err := keyed("/proc/meminfo", "MemTotal:")
	if err != nil {
		return Amount{}, 0, err
	}
	total *= 1024
	ws, err := workingSet(s.cfg.MemoryRoot, s.cfg.V2)
	if err != nil {
		return Amount{}, 0, err
	}
	return Amount{Available: max(total-ws, 0), Capacity: total}, ws, nil
}

// workingSet is a memory cgroup's usage less its inactive file cache, in bytes.
func workingSet(dir string, v2 bool) (int64, error) {
	file, inactiveKey := "memory.usage_in_bytes", "total_inactive_file"
	if v2 {
		file, inactiveKey = "memory.current", "inactive_file"
	}
	stat := filepath.Join(dir, "memory.stat")
	inactive, err := keyed(stat, inactiveKey)
	if err != nil {
		return 0, err
	}
	usage, err := number(filepath.Join(dir, file))
	if v2 && errors.Is(err, os.ErrNotExist) { // the root cgroup of v2 has no memory.current
		var anon, cache int64
		if anon, err = keyed(stat, "anon"); err == nil {
			cache, err = keyed(stat, "file")
		}
		usage = anon + cache
	}
	if err != nil {
		return 0, err
	}
	return max(usage-inactive, 0), nil
}

func statfs(dir string) (FS, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return FS{}, fmt.Errorf("cannot measure the file system of %s: %w", dir, err)
	}
	size := st.Frsize
	if size == 0 {
		size = st.Bsize
	}
	return FS{
		Bytes:  Amount{Available: int64(st.Bavail) * size, Capacity: int64(st.Blocks) * size},
		Inodes: Amount{Available: int64(st.Ffree), Capacity: int64(st.Files)},
		Used:   int64(st.Blocks-st.Bfree) * size,
	}, nil
}

func pids() (Amount, error) {
	most, err := number("/proc/sys/kernel/pid_max")
	if err != nil {
		return Amount{}, err
	}
	if threads, err := number("/proc/sys/kernel/threads-max"); err == nil {
		most = min(most, threads)
	}
	b, err := os.ReadFile("/proc/loadavg") // "0.1 0.2 0.3 running/all last"
	if err != nil {
		return Amount{}, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 4 {
		return Amount{}, fmt.Errorf("cannot read the number of processes from /proc/loadavg: %q", b)
	}
	_, all, _ := strings.Cut(fields[3], "/")
	running, err := strconv.ParseInt(all, 10, 64)
	if err != nil {
		return Amount{}, fmt.Errorf("cannot read the number of processes from /proc/loadavg: %w", err)
	}
	return Amount{Available: most - running, Capacity: most}, nil
}

// keyed reads the number behind a key that begins a line.
func keyed(path, key string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == key {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("cannot find %s in %s", key, path)
}

func number(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// podDir is the agent's directory of a pod.
func (s *Source) podDir(p *v1.Pod) string {
	return filepath.Join(s.cfg.RootDir, "pods", string(p.UID))
}
