package cgroupstat

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"
)

// Stat is what the kernel counts of one control group and those below it. Sizes are in bytes.
type Stat struct {
	At       time.Time
	CPU      CPU
	Memory   Memory
	Pressure Pressure
}

// CPU is time that was used, in nanoseconds of one core.
type CPU struct{ Total uint64 }

// Memory is memory that is used now.
type Memory struct {
	Usage, WorkingSet, RSS uint64
	Swap                   uint64
	Faults, MajorFaults    uint64  // since the group was made
	Limit                  *uint64 // nil: none
	SwapLimit              *uint64 // of swap alone; nil: none
}

// Pressure is how long something had to wait (PSI). A field is nil where the kernel does not measure it.
type Pressure struct{ CPU, Memory, IO *Stall }

// Stall is the pressure on one resource.
type Stall struct{ Some, Full Share }

// Share is what part of the time some or all processes waited, in percent, and for how long in all.
type Share struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64 // microseconds
}

// Dirs finds the directory of a group in the hierarchy of a v1 controller, or in the only one of v2; "" where there is none.
type Dirs func(controller string) string

// Reader reads groups one after another. It must not be used from two goroutines at once.
type Reader struct {
	v2   bool
	buf  []byte
	path []byte
}

// NewReader returns a reader for cgroup v2, or for v1.
func NewReader(v2 bool) *Reader { return &Reader{v2: v2} }

// Read reads a group. An error of a group that is gone matches fs.ErrNotExist.
func (r *Reader) Read(dirs Dirs) (Stat, error) { return r.read(dirs, nil, nil) }

// read takes more fields of the files that it reads anyway: of cpu.stat of v2, and of memory.stat.
func (r *Reader) read(dirs Dirs, cpu, memory []field) (Stat, error) {
	s := Stat{At: time.Now()}
	var err error
	if r.v2 {
		err = r.unified(dirs(""), &s, cpu, memory)
	} else {
		err = r.legacy(dirs, &s, memory)
	}
	return s, err
}

// unified reads a group of v2. The root group lacks some files: what it uses is then what is mapped and cached.
func (r *Reader) unified(dir string, s *Stat, more, memory []field) error {
	var anon, file, idle uint64
	cpu := r.keys(dir, "cpu.stat", append(more, field{"usage_usec", &s.CPU.Total})...)
	s.CPU.Total *= 1000
	stat := r.keys(dir, "memory.stat", append(memory, field{"anon", &anon}, field{"file", &file}, field{"inactive_file", &idle},
		field{"pgfault", &s.Memory.Faults}, field{"pgmajfault", &s.Memory.MajorFaults})...)
	s.Memory.RSS = anon
	usage := r.number(dir, "memory.current", &s.Memory.Usage)
	if errors.Is(usage, fs.ErrNotExist) && stat == nil {
		s.Memory.Usage, usage = anon+file, nil
	}
	s.Memory.WorkingSet = s.Memory.Usage - min(s.Memory.Usage, idle)
	if r.number(dir, "memory.swap.current", &s.Memory.Swap) == nil {
		s.Memory.SwapLimit = r.limit(dir, "memory.swap.max")
	}
	s.Memory.Limit = r.limit(dir, "memory.max")
	s.Pressure = Pressure{CPU: r.stall(dir, "cpu.pressure"), Memory: r.stall(dir, "memory.pressure"), IO: r.stall(dir, "io.pressure")}
	return errors.Join(cpu, stat, usage)
}

// legacy reads a group of v1.
func (r *Reader) legacy(dirs Dirs, s *Stat, more []field) error {
	memory := dirs("memory")
	var idle uint64
	cpu := r.number(dirs("cpuacct"), "cpuacct.usage", &s.CPU.Total)
	stat := r.keys(memory, "memory.stat", append(more, field{"total_rss", &s.Memory.RSS}, field{"total_inactive_file", &idle},
		field{"total_swap", &s.Memory.Swap}, field{"total_pgfault", &s.Memory.Faults}, field{"total_pgmajfault", &s.Memory.MajorFaults})...)
	usage := r.number(memory, "memory.usage_in_bytes", &s.Memory.Usage)
	s.Memory.WorkingSet = s.Memory.Usage - min(s.Memory.Usage, idle)
	s.Memory.Limit = r.limit(memory, "memory.limit_in_bytes")
	if both := r.limit(memory, "memory.memsw.limit_in_bytes"); both != nil && s.Memory.Limit != nil {
		s.Memory.SwapLimit = new(*both - min(*both, *s.Memory.Limit)) // v1 limits the sum
	}
	return errors.Join(cpu, stat, usage)
}

// Machine reads what the kernel measures of pressure on the whole machine; v1 has it, too.
func (r *Reader) Machine() Pressure {
	const dir = "/proc/pressure"
	return Pressure{CPU: r.stall(dir, "cpu"), Memory: r.stall(dir, "memory"), IO: r.stall(dir, "io")}
}

// Dir is a group of which every controller has the same path below its root.
func Dir(root func(controller string) string, path string) Dirs {
	return func(controller string) string {
		base := root(controller)
		if base == "" {
			return ""
		}
		return filepath.Join(base, path)
	}
}
