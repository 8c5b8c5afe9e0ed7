package cgroupstat

import (
	"bytes"
	"strconv"
)

// Detail is a Stat and all else that dashboards read of a group. A pointer is nil where the kernel does not tell.
type Detail struct {
	Stat
	Times      Times
	Throttling Throttling
	Content    Content
	OwnFaults  Faults // of the group's own processes where they are counted apart
	Settings   Settings
	Tasks      Tasks
	Disks      []Disk
}

// Times are what a group has used of CPUs in either mode, in nanoseconds of a core.
type Times struct{ User, System uint64 }

// Content is what makes up the memory of a group, in bytes, and what became of it.
type Content struct {
	Cache, Mapped    uint64
	Active, Inactive uint64  // files in the cache
	Peak             *uint64 // largest Usage
	Kernel           *uint64 // the kernel's for the group
	LimitHits        *uint64
	OOMKills         *uint64 // processes of the group itself
}

// Settings are a group's limits and weights.
type Settings struct {
	Period, Quota *uint64 // microseconds; no quota: none
	Shares        *uint64
	Reservation   uint64
	Swap          *uint64 // on v1 the limit of memory and swap together; nil: none
	Threads       uint64  // 0: no limit
}

// Tasks are processes of a group itself, and threads also of groups below.
type Tasks struct {
	Processes uint64
	First     int // one of the processes, 0 for none
	Threads   *uint64
}

// Faults are page faults.
type Faults struct{ Minor, Major uint64 }

// Throttling is how often a group with a quota was held back, in periods and nanoseconds.
type Throttling struct{ Periods, Throttled, Time, Bursts, BurstTime uint64 }

// Disk is what a group has read from a block device and written to it. Operations are those that reached the device.
type Disk struct {
	Major, Minor          uint32
	ReadBytes, WriteBytes uint64
	Reads, Writes         uint64
}

// Detail reads all of a group. An error of a group that is gone matches fs.ErrNotExist; what else cannot be read is absent.
func (r *Reader) Detail(dirs Dirs) (Detail, error) {
	var d Detail
	var err error
	if r.v2 {
		err = r.unifiedDetail(dirs, &d)
	} else {
		err = r.legacyDetail(dirs, &d)
	}
	return d, err
}

func (r *Reader) unifiedDetail(dirs Dirs, d *Detail) (err error) {
	t, dir := &d.Throttling, dirs("")
	var kernel uint64
	d.Stat, err = r.read(dirs, []field{
		{"user_usec", &d.Times.User}, {"system_usec", &d.Times.System}, {"nr_periods", &t.Periods}, {"nr_throttled", &t.Throttled}, {"throttled_usec", &t.Time},
		{"nr_bursts", &t.Bursts}, {"burst_usec", &t.BurstTime},
	}, []field{{"file", &d.Content.Cache}, {"file_mapped", &d.Content.Mapped}, {"active_file", &d.Content.Active}, {"inactive_file", &d.Content.Inactive}, {"kernel", &kernel}})
	if err != nil {
		return err
	}
	for _, us := range []*uint64{&d.Times.User, &d.Times.System, &t.Time, &t.BurstTime} {
		*us *= 1000
	}
	d.OwnFaults = Faults{d.Memory.Faults, d.Memory.MajorFaults}
	if kernel > 0 {
		d.Content.Kernel = &kernel
	}
	if weight := r.limit(dir, "cpu.weight"); weight != nil {
		d.Settings.Shares = new(2 + (max(*weight, 1)-1)*262142/9999) // as it was converted from shares
	}
	if b, err := r.file(dir, "cpu.max"); err == nil { // "max 100000"
		quota, period, _ := bytes.Cut(bytes.TrimSpace(b), []byte{' '})
		d.Settings.Quota, d.Settings.Period = optional(quota), optional(period)
	}
	_ = r.number(dir, "memory.min", &d.Settings.Reservation)
	d.Settings.Swap = d.Memory.SwapLimit
	d.Content.Peak = r.limit(dir, "memory.peak")
	var kills uint64
	if r.keys(dir, "memory.events.local", field{"oom_kill", &kills}) == nil {
		d.Content.OOMKills = &kills
	}
	r.processes(dir, dir, d)
	d.Disks = r.disks(dir)
	return nil
}

func (r *Reader) legacyDetail(dirs Dirs, d *Detail) (err error) {
	t := &d.Throttling
	d.Stat, err = r.read(dirs, nil, []field{
		{"total_cache", &d.Content.Cache}, {"total_mapped_file", &d.Content.Mapped}, {"total_active_file", &d.Content.Active}, {"total_inactive_file", &d.Content.Inactive},
		{"pgfault", &d.OwnFaults.Minor}, {"pgmajfault", &d.OwnFaults.Major},
	})
	if err != nil {
		return err
	}
	_ = r.keys(dirs("cpuacct"), "cpuacct.stat", field{"user", &d.Times.User}, field{"system", &d.Times.System})
	d.Times.User, d.Times.System = d.Times.User*(1e9/ticks), d.Times.System*(1e9/ticks)
	cpu, memory := dirs("cpu"), dirs("memory")
	d.Settings.Shares, d.Settings.Period, d.Settings.Quota = r.limit(cpu, "cpu.shares"), r.limit(cpu, "cpu.cfs_period_us"), r.limit(cpu, "cpu.cfs_quota_us")
	if d.Settings.Quota != nil {
		_ = r.keys(cpu, "cpu.stat", field{"nr_periods", &t.Periods}, field{"nr_throttled", &t.Throttled}, field{"throttled_time", &t.Time},
			field{"nr_bursts", &t.Bursts}, field{"burst_time", &t.BurstTime})
	}
	d.Content.Peak, d.Content.LimitHits = r.limit(memory, "memory.max_usage_in_bytes"), r.limit(memory, "memory.failcnt")
	d.Content.Kernel, d.Settings.Swap = r.limit(memory, "memory.kmem.usage_in_bytes"), r.limit(memory, "memory.memsw.limit_in_bytes")
	if soft := r.limit(memory, "memory.soft_limit_in_bytes"); soft != nil {
		d.Settings.Reservation = *soft
	}
	var kills uint64
	if r.keys(memory, "memory.oom_control", field{"oom_kill", &kills}) == nil {
		d.Content.OOMKills = &kills
	}
	r.processes(memory, dirs("pids"), d)
	d.Disks = r.oldDisks(dirs("blkio"))
	return nil
}

// processes counts those in a group itself, and the threads in it and below it.
func (r *Reader) processes(dir, pids string, d *Detail) {
	if b, err := r.file(dir, "cgroup.procs"); err == nil {
		for line := range bytes.Lines(b) {
			d.Tasks.Processes++
			if d.Tasks.First == 0 {
				d.Tasks.First, _ = strconv.Atoi(string(bytes.TrimSpace(line)))
			}
		}
	}
	d.Tasks.Threads = r.limit(pids, "pids.current")
	if limit := r.limit(pids, "pids.max"); limit != nil {
		d.Settings.Threads = *limit
	}
}

// disks reads io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
func (r *Reader) disks(dir string) (out []Disk) {
	b, err := r.file(dir, "io.stat")
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		var d Disk
		if len(f) < 2 || !d.is(f[0]) {
			continue
		}
		for _, pair := range f[1:] {
			key, value, _ := bytes.Cut(pair, []byte{'='})
			if p := map[string]*uint64{"rbytes": &d.ReadBytes, "wbytes": &d.WriteBytes, "rios": &d.Reads, "wios": &d.Writes}[string(key)]; p != nil {
				*p, _ = strconv.ParseUint(string(value), 10, 64)
			}
		}
		out = append(out, d)
	}
	return out
}

// oldDisks reads the files of v1, whose lines are "8:0 Read 1". Those without "throttle" are there with some schedulers only.
func (r *Reader) oldDisks(dir string) (out []Disk) {
	of := func(dev []byte) *Disk {
		var d Disk
		if !d.is(dev) {
			return nil
		}
		for i := range out {
			if out[i].Major == d.Major && out[i].Minor == d.Minor {
				return &out[i]
			}
		}
		out = append(out, d)
		return &out[len(out)-1]
	}
	for name, into := range map[string]func(d *Disk) (read, write *uint64){
		"blkio.throttle.io_service_bytes_recursive": func(d *Disk) (read, write *uint64) { return &d.ReadBytes, &d.WriteBytes },
		"blkio.throttle.io_serviced_recursive":      func(d *Disk) (read, write *uint64) { return &d.Reads, &d.Writes },
	} {
		b, err := r.file(dir, name)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			f := bytes.Fields(line)
			if len(f) != 3 {
				continue
			}
			d := of(f[0])
			if d == nil {
				continue
			}
			read, write := into(d)
			switch string(f[1]) {
			case "Read":
				*read, _ = strconv.ParseUint(string(f[2]), 10, 64)
			case "Write":
				*write, _ = strconv.ParseUint(string(f[2]), 10, 64)
			}
		}
	}
	return out
}

// is reads a device: 8:0.
func (d *Disk) is(device []byte) bool {
	major, minor, ok := bytes.Cut(device, []byte{':'})
	a, err1 := strconv.ParseUint(string(major), 10, 32)
	b, err2 := strconv.ParseUint(string(minor), 10, 32)
	d.Major, d.Minor = uint32(a), uint32(b)
	return ok && err1 == nil && err2 == nil
}

// optional is a number, nil for what is none.
func optional(b []byte) *uint64 {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}
