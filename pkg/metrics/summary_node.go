package metrics

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

func node(r readings) statsapi.NodeStats {
	now := metav1.NewTime(r.At)
	n := statsapi.NodeStats{NodeName: r.Node.Name, StartTime: metav1.NewTime(r.Boot), CPU: groupCPU(r.Root), SystemContainers: system(r)}
	if m := r.Machine.Memory; m.Capacity > 0 {
		n.Memory = groupMemory(r.Root.Stat)
		n.Memory.AvailableBytes, n.Memory.WorkingSetBytes = new(uint64(m.Available)), new(uint64(r.Machine.MemoryWS))
	}
	swap := r.Machine.Swap
	n.Swap = &statsapi.SwapStats{Time: now, SwapAvailableBytes: new(uint64(swap.Available)), SwapUsageBytes: new(uint64(swap.Capacity - swap.Available))}
	if !r.Full {
		return n
	}
	n.IO = groupIO(r.Root.Stat)
	n.Fs = fs(now, r.Machine.Nodefs)
	n.Runtime = &statsapi.RuntimeStats{ImageFs: usedBy(fs(now, r.Machine.Imagefs), r.Images), ContainerFs: usedBy(fs(now, r.Machine.Imagefs), r.Layers)}
	if p := r.Machine.PIDs; p.Capacity > 0 {
		n.Rlimit = &statsapi.RlimitStats{Time: now, MaxPID: new(p.Capacity), NumOfRunningProcesses: new(p.Capacity - p.Available)}
	}
	if len(r.Network) > 0 {
		n.Network = &statsapi.NetworkStats{Time: now, Interfaces: r.Network}
		if i := slices.IndexFunc(r.Network, func(i statsapi.InterfaceStats) bool { return i.Name == "eth0" }); i >= 0 {
			n.Network.InterfaceStats = r.Network[i] // the one that a kubelet takes for the node's
		}
	}
	return n
}

func system(r readings) (out []statsapi.ContainerStats) {
	for _, m := range r.System {
		s := statsapi.ContainerStats{
			Name: m.Name, StartTime: metav1.NewTime(m.Start), CPU: groupCPU(m), Memory: groupMemory(m.Stat), Swap: groupSwap(m.Stat),
		}
		if r.Full {
			s.IO = groupIO(m.Stat)
		}
		out = append(out, s)
	}
	return out
}

func groupCPU(m measured) *statsapi.CPUStats {
	return &statsapi.CPUStats{Time: metav1.NewTime(m.At), UsageCoreNanoSeconds: &m.CPU.Total, UsageNanoCores: m.Rate, PSI: stall(m.Pressure.CPU)}
}

func groupMemory(s cgroupstat.Stat) *statsapi.MemoryStats {
	m := s.Memory
	out := &statsapi.MemoryStats{
		Time: metav1.NewTime(s.At), UsageBytes: &m.Usage, WorkingSetBytes: &m.WorkingSet, RSSBytes: &m.RSS,
		PageFaults: &m.Faults, MajorPageFaults: &m.MajorFaults, PSI: stall(s.Pressure.Memory),
	}
	if m.Limit != nil {
		out.AvailableBytes = new(*m.Limit - min(*m.Limit, m.WorkingSet))
	}
	return out
}

func groupSwap(s cgroupstat.Stat) *statsapi.SwapStats {
	out := &statsapi.SwapStats{Time: metav1.NewTime(s.At), SwapUsageBytes: &s.Memory.Swap}
	if limit := s.Memory.SwapLimit; limit != nil {
		out.SwapAvailableBytes = new(*limit - min(*limit, s.Memory.Swap))
	}
	return out
}

// groupIO is nil where the kernel does not measure the pressure on disks.
func groupIO(s cgroupstat.Stat) *statsapi.IOStats {
	if s.Pressure.IO == nil {
		return nil
	}
	return &statsapi.IOStats{Time: metav1.NewTime(s.At), PSI: stall(s.Pressure.IO)}
}

func stall(s *cgroupstat.Stall) *statsapi.PSIStats {
	if s == nil {
		return nil
	}
	data := func(s cgroupstat.Share) statsapi.PSIData {
		return statsapi.PSIData{Total: s.Total, Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
	}
	return &statsapi.PSIStats{Full: data(s.Full), Some: data(s.Some)}
}

func fs(at metav1.Time, f stats.FS) *statsapi.FsStats {
	if f.Bytes.Capacity == 0 {
		return nil
	}
	out := &statsapi.FsStats{
		Time: at, AvailableBytes: new(uint64(f.Bytes.Available)), CapacityBytes: new(uint64(f.Bytes.Capacity)), UsedBytes: new(uint64(f.Used)),
	}
	if f.Inodes.Capacity > 0 {
		out.Inodes, out.InodesFree = new(uint64(f.Inodes.Capacity)), new(uint64(f.Inodes.Available))
		out.InodesUsed = new(uint64(f.Inodes.Capacity - f.Inodes.Available))
	}
	return out
}

// usedBy tells what a part of a file system's content takes, as far as that is known.
func usedBy(f *statsapi.FsStats, u *stats.Usage) *statsapi.FsStats {
	if f == nil || u == nil {
		return f
	}
	f.UsedBytes, f.InodesUsed = new(uint64(u.Bytes)), new(uint64(u.Inodes))
	return f
}
