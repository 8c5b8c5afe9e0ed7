package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// Machine is what this computer is. It does not change while the agent runs.
type Machine struct {
	CPUs             int64
	Memory, Swap     int64            // bytes
	PIDs             int64            // processes and threads at once; 0: not known
	RootFS           int64            // bytes, of the file system that holds the root directory
	HugePages        map[string]int64 // bytes, by page size as in resource names: "2Mi"
	MachineID        string
	SystemUUID       string
	BootID           string
	Kernel           string
	OSImage          string
	OS, Architecture string
	AppArmor         bool // the kernel enforces profiles
}

// ReadMachine reads /etc, /proc and /sys below a directory ("/" on a node) and the file system of rootDir. What cannot be
// read is left empty; only memory and the file system are indispensable.
func ReadMachine(sysRoot, rootDir string) (Machine, error) {
	m := Machine{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	at := func(p string) string { return filepath.Join(sysRoot, p) }
	m.CPUs = cpus(text(at("sys/devices/system/cpu/online")))
	m.MachineID = text(at("etc/machine-id"))
	m.SystemUUID = text(at("sys/class/dmi/id/product_uuid"))
	if m.SystemUUID == "" {
		m.SystemUUID = m.MachineID
	}
	m.BootID = text(at("proc/sys/kernel/random/boot_id"))
	m.Kernel = text(at("proc/sys/kernel/osrelease"))
	m.AppArmor = text(at("sys/module/apparmor/parameters/enabled")) == "Y"
	m.OSImage = prettyName(at("etc/os-release"), at("usr/lib/os-release"))
	m.HugePages = hugePages(at("sys/kernel/mm/hugepages"))
	m.PIDs = mostPIDs(at("proc/sys/kernel/pid_max"), at("proc/sys/kernel/threads-max"))

	var errs []error
	if m.Memory, m.Swap = memInfo(at("proc/meminfo")); m.Memory == 0 {
		errs = append(errs, fmt.Errorf("cannot read MemTotal from %s", at("proc/meminfo")))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(rootDir, &fs); err != nil {
		errs = append(errs, fmt.Errorf("cannot read the size of the file system of %s: %w", rootDir, err))
	}
	m.RootFS = int64(fs.Blocks) * fs.Frsize
	return m, errors.Join(errs...)
}

// capacity is what the machine has for pods and for itself.
func (m Machine) capacity(maxPods int64) v1.ResourceList {
	l := v1.ResourceList{
		v1.ResourceCPU:              *resource.NewQuantity(m.CPUs, resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(m.Memory, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(m.RootFS, resource.BinarySI),
	}
	for size, bytes := range m.HugePages {
		l[v1.ResourceName(v1.ResourceHugePagesPrefix+size)] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
	return l
}

// Cgroups is what of the machine cgroups may use.
func (m Machine) Cgroups() resources.Capacity {
	return resources.Capacity{CPUs: m.CPUs, Memory: m.Memory, PIDs: m.PIDs, HugePages: m.HugePages}
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// mostPIDs is the lowest of the limits that can be read.
func mostPIDs(files ...string) int64 {
	var most int64
	for _, f := range files {
		if n, err := strconv.ParseInt(text(f), 10, 64); err == nil && n > 0 && (most == 0 || n < most) {
			most = n
		}
	}
	return most
}

// cpus counts a list like "0-3,8"; without one, what the Go runtime may use counts.
func cpus(list string) int64 {
	var n int64
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseInt(from, 10, 32)
		if err != nil {
			return int64(runtime.NumCPU())
		}
		b := a
		if isRange {
			if b, err = strconv.ParseInt(to, 10, 32); err != nil || b < a {
				return int64(runtime.NumCPU())
			}
		}
		n += b - a + 1
	}
	return n
}

func memInfo(path string) (memory, swap int64) {
	for name, value := range lines(path, ":") {
		kb, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "MemTotal":
			memory = kb * 1024
		case "SwapTotal":
			swap = kb * 1024
		}
	}
	return memory, swap
}

func prettyName(paths ...string) string {
	for _, p := range paths {
		for name, value := range lines(p, "=") {
			if name == "PRETTY_NAME" {
				return strings.Trim(value, `"'`)
			}
		}
	}
	return "Linux"
}

// lines yields the name and value of each line of a file.
func lines(path, sep string) func(func(name, value string) bool) {
	return func(yield func(string, string) bool) {
		b, err := os.ReadFile(path)
		if err != nil {
			return
		}
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			name, value, ok := strings.Cut(s.Text(), sep)
			if ok && !yield(strings.TrimSpace(name), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

func hugePages(dir string) map[string]int64 {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := make(map[string]int64, len(entries))
	for _, e := range entries { // hugepages-2048kB
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(text(filepath.Join(dir, e.Name(), "nr_hugepages")), 10, 64)
		if err != nil {
			continue
		}
		out[resource.NewQuantity(kb*1024, resource.BinarySI).String()] = n * kb * 1024
	}
	return out
}
