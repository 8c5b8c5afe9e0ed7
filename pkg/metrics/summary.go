package metrics

import (
	"cmp"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// summary puts readings into the form of /stats/summary. Pods that initialise are in it, those that have ended are not.
func summary(r readings) *statsapi.Summary {
	out := &statsapi.Summary{Node: node(r), Pods: []statsapi.PodStats{}}
	for _, p := range r.Pods {
		if s := r.Sandboxes[p.UID]; s != nil && p.Status.Phase != v1.PodSucceeded && p.Status.Phase != v1.PodFailed {
			out.Pods = append(out.Pods, podStats(r, p, s.GetLinux()))
		}
	}
	slices.SortFunc(out.Pods, func(a, b statsapi.PodStats) int {
		return cmp.Or(cmp.Compare(a.PodRef.Namespace, b.PodRef.Namespace), cmp.Compare(a.PodRef.Name, b.PodRef.Name),
			a.StartTime.Compare(b.StartTime.Time))
	})
	return out
}

func podStats(r readings, p *v1.Pod, s *runtimeapi.LinuxPodSandboxStats) statsapi.PodStats {
	out := statsapi.PodStats{
		PodRef: statsapi.PodReference{Name: p.Name, Namespace: p.Namespace, UID: string(p.UID)},
		CPU:    cpu(s.GetCpu()), Memory: memory(s.GetMemory()), IO: diskIO(s.GetIo()), Containers: []statsapi.ContainerStats{},
	}
	group, read := r.Groups[string(p.UID)]
	out.Swap = swap(r, group, read)
	if read {
		complete(out.CPU, out.Memory, &out.IO, group)
	}
	if p.Status.StartTime != nil {
		out.StartTime = *p.Status.StartTime
	}
	if n := s.GetNetwork(); n.GetDefaultInterface() != nil {
		out.Network = &statsapi.NetworkStats{Time: stamp(n.Timestamp), InterfaceStats: iface(n.DefaultInterface)}
		out.Network.Interfaces = append(out.Network.Interfaces, iface(n.DefaultInterface))
		for _, i := range n.Interfaces {
			if i.Name != n.DefaultInterface.Name { // some runtimes list it again
				out.Network.Interfaces = append(out.Network.Interfaces, iface(i))
			}
		}
	}
	if n := s.GetProcess().GetProcessCount(); n != nil {
		out.ProcessStats = &statsapi.ProcessStats{ProcessCount: &n.Value}
	}
	disk, walked := r.Disk[p.UID]
	for _, c := range newest(s.GetContainers()) {
		if c.GetCpu() == nil && c.GetMemory() == nil { // it has ended: some runtimes tell of its disk still
			continue
		}
		out.Containers = append(out.Containers, containerStats(r, p, c, disk))
	}
	slices.SortFunc(out.Containers, func(a, b statsapi.ContainerStats) int { return cmp.Compare(a.Name, b.Name) })
	if walked {
		out.EphemeralStorage = used(r, disk.Disk)
		for _, v := range p.Spec.Volumes {
			if u, ok := disk.Volumes[v.Name]; ok {
				out.VolumeStats = append(out.VolumeStats, statsapi.VolumeStats{Name: v.Name, FsStats: *used(r, u)})
			}
		}
		out.VolumeStats = append(out.VolumeStats, claimStats(p, r.Claims[p.UID], r.At)...)
	}
	return out
}

// newest leaves out the attempts before the newest of each container: some runtimes tell of what has ended, too.
func newest(all []*runtimeapi.ContainerStats) []*runtimeapi.ContainerStats {
	byName := map[string]*runtimeapi.ContainerStats{}
	for _, c := range all {
		m := c.GetAttributes().GetMetadata()
		if old := byName[m.GetName()]; old == nil || old.GetAttributes().GetMetadata().GetAttempt() < m.GetAttempt() {
			byName[m.GetName()] = c
		}
	}
	return slices.Collect(maps.Values(byName))
}

func containerStats(r readings, p *v1.Pod, c *runtimeapi.ContainerStats, disk stats.Pod) statsapi.ContainerStats {
	out := statsapi.ContainerStats{Name: c.GetAttributes().GetMetadata().GetName(), CPU: cpu(c.GetCpu()), Memory: memory(c.GetMemory()), IO: diskIO(c.GetIo())}
	group, read := r.Groups[c.GetAttributes().GetId()]
	if out.Memory != nil { // it runs
		out.Swap = swap(r, group, read)
	}
	if told := c.GetSwap(); told != nil {
		out.Swap = &statsapi.SwapStats{Time: stamp(told.Timestamp), SwapAvailableBytes: value(told.SwapAvailableBytes), SwapUsageBytes: value(told.SwapUsageBytes)}
	}
	if read {
		complete(out.CPU, out.Memory, &out.IO, group)
	}
	if st := pod.StatusOf(&p.Status, out.Name); st != nil && st.State.Running != nil {
		out.StartTime = st.State.Running.StartedAt
	}
	if w := c.GetWritableLayer(); w != nil {
		out.Rootfs = used(r, stats.Usage{Bytes: int64(w.GetUsedBytes().GetValue()), Inodes: int64(w.GetInodesUsed().GetValue())})
		if f := r.Machine.Imagefs; f.Bytes.Capacity > 0 {
			out.Rootfs.AvailableBytes, out.Rootfs.CapacityBytes = new(uint64(f.Bytes.Available)), new(uint64(f.Bytes.Capacity))
		}
	}
	for _, d := range disk.Containers {
		if d.Name == out.Name {
			out.Logs = used(r, d.Logs)
		}
	}
	return out
}

// used is what files take of the node's file system.
func used(r readings, u stats.Usage) *statsapi.FsStats {
	out := fs(metav1.NewTime(r.At), r.Machine.Nodefs)
	if out == nil {
		out = &statsapi.FsStats{Time: metav1.NewTime(r.At)}
	}
	return usedBy(out, &u)
}

func cpu(u *runtimeapi.CpuUsage) *statsapi.CPUStats {
	if u == nil {
		return nil
	}
	return &statsapi.CPUStats{Time: stamp(u.Timestamp), UsageCoreNanoSeconds: value(u.UsageCoreNanoSeconds), UsageNanoCores: value(u.UsageNanoCores), PSI: psi(u.Psi)}
}

func memory(u *runtimeapi.MemoryUsage) *statsapi.MemoryStats {
	if u == nil {
		return nil
	}
	return &statsapi.MemoryStats{
		Time: stamp(u.Timestamp), AvailableBytes: limited(u.AvailableBytes), UsageBytes: value(u.UsageBytes),
		WorkingSetBytes: value(u.WorkingSetBytes), RSSBytes: value(u.RssBytes), PageFaults: value(u.PageFaults),
		MajorPageFaults: value(u.MajorPageFaults), PSI: psi(u.Psi),
	}
}

// limited drops the zero that runtimes tell of what has no limit.
func limited(available *runtimeapi.UInt64Value) *uint64 {
	if available.GetValue() == 0 {
		return nil
	}
	return &available.Value
}

// swap is what the kernel counts of a group. Where the machine has no swap, that is nothing, and the group is not read.
func swap(r readings, group cgroupstat.Stat, read bool) *statsapi.SwapStats {
	switch {
	case read:
		return groupSwap(group)
	case r.Machine.Swap.Capacity > 0:
		return nil
	}
	return &statsapi.SwapStats{Time: metav1.NewTime(r.At), SwapUsageBytes: new(uint64), SwapAvailableBytes: new(uint64)}
}

// complete fills in the pressure where the runtime does not tell it.
func complete(c *statsapi.CPUStats, m *statsapi.MemoryStats, disk **statsapi.IOStats, group cgroupstat.Stat) {
	if c != nil && c.PSI == nil {
		c.PSI = stall(group.Pressure.CPU)
	}
	if m != nil && m.PSI == nil {
		m.PSI = stall(group.Pressure.Memory)
	}
	if *disk == nil {
		*disk = groupIO(group)
	}
}

func diskIO(u *runtimeapi.IoUsage) *statsapi.IOStats {
	if u == nil {
		return nil
	}
	return &statsapi.IOStats{Time: stamp(u.Timestamp), PSI: psi(u.Psi)}
}

func psi(p *runtimeapi.PsiStats) *statsapi.PSIStats {
	if p == nil {
		return nil
	}
	data := func(d *runtimeapi.PsiData) statsapi.PSIData {
		return statsapi.PSIData{Total: d.GetTotal(), Avg10: d.GetAvg10(), Avg60: d.GetAvg60(), Avg300: d.GetAvg300()}
	}
	return &statsapi.PSIStats{Full: data(p.Full), Some: data(p.Some)}
}

func iface(i *runtimeapi.NetworkInterfaceUsage) statsapi.InterfaceStats {
	return statsapi.InterfaceStats{Name: i.GetName(), RxBytes: value(i.RxBytes), RxErrors: value(i.RxErrors), TxBytes: value(i.TxBytes), TxErrors: value(i.TxErrors)}
}

func value(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	return &v.Value
}

func stamp(ns int64) metav1.Time { return metav1.NewTime(time.Unix(0, ns)) }
