package metrics

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// family is all series of one name.
type family struct {
	name, help string
	counter    bool
	each       func(t *text, u *unit) // writes those of a group
}

// containerFamilies are in the order of their names.
var containerFamilies = []family{
	{"container_cpu_cfs_burst_periods_total", "Number of periods when burst occurs.", true, func(t *text, u *unit) { t.throttled(u, float64(u.Throttling.Bursts)) }},
	{"container_cpu_cfs_burst_seconds_total", "Total time duration the container has been bursted.", true, func(t *text, u *unit) { t.throttled(u, seconds(u.Throttling.BurstTime)) }},
	{"container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", true, func(t *text, u *unit) { t.throttled(u, float64(u.Throttling.Periods)) }},
	{"container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", true, func(t *text, u *unit) { t.throttled(u, float64(u.Throttling.Throttled)) }},
	{"container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", true, func(t *text, u *unit) { t.throttled(u, seconds(u.Throttling.Time)) }},
	{"container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", true, func(t *text, u *unit) { t.plain(u, seconds(u.Times.System)) }},
	{"container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", true, func(t *text, u *unit) { t.add(u.labels, labels{head: `,cpu="total"`}, seconds(u.CPU.Total), u.At) }},
	{"container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", true, func(t *text, u *unit) { t.plain(u, seconds(u.Times.User)) }},
	{"container_fs_inodes_free", "Number of available Inodes", false, func(t *text, u *unit) { t.filesystems(u, func(f *filesystem) int64 { return f.Inodes.Available }) }},
	{"container_fs_inodes_total", "Number of Inodes", false, func(t *text, u *unit) { t.filesystems(u, func(f *filesystem) int64 { return f.Inodes.Capacity }) }},
	{"container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.", false, func(t *text, u *unit) { t.filesystems(u, func(f *filesystem) int64 { return f.Bytes.Capacity }) }},
	{"container_fs_reads_bytes_total", "Cumulative count of bytes read", true, func(t *text, u *unit) { t.disks(u, func(d *cgroupstat.Disk) uint64 { return d.ReadBytes }) }},
	{"container_fs_reads_total", "Cumulative count of reads completed", true, func(t *text, u *unit) { t.disks(u, func(d *cgroupstat.Disk) uint64 { return d.Reads }) }},
	{"container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", false, fsUsage},
	{"container_fs_writes_bytes_total", "Cumulative count of bytes written", true, func(t *text, u *unit) { t.disks(u, func(d *cgroupstat.Disk) uint64 { return d.WriteBytes }) }},
	{"container_fs_writes_total", "Cumulative count of writes completed", true, func(t *text, u *unit) { t.disks(u, func(d *cgroupstat.Disk) uint64 { return d.Writes }) }},
	{"container_last_seen", "Last time a container was seen by the exporter", false, func(t *text, u *unit) { t.plain(u, float64(u.At.Unix())) }},
	{"container_memory_cache", "Number of bytes of page cache memory.", false, func(t *text, u *unit) { t.plain(u, float64(u.Content.Cache)) }},
	{"container_memory_failcnt", "Number of memory usage hits limits", true, func(t *text, u *unit) { t.optional(u, u.Content.LimitHits) }},
	{"container_memory_failures_total", "Cumulative count of memory allocation failures.", true, failures},
	{"container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", false, func(t *text, u *unit) { t.optional(u, u.Content.Kernel) }},
	{"container_memory_mapped_file", "Size of memory mapped files in bytes.", false, func(t *text, u *unit) { t.plain(u, float64(u.Content.Mapped)) }},
	{"container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", false, func(t *text, u *unit) { t.optional(u, u.Content.Peak) }},
	{"container_memory_rss", "Size of RSS in bytes.", false, func(t *text, u *unit) { t.plain(u, float64(u.Memory.RSS)) }},
	{"container_memory_swap", "Container swap usage in bytes.", false, func(t *text, u *unit) { t.plain(u, float64(u.Memory.Swap)) }},
	{"container_memory_total_active_file_bytes", "Current total active file in bytes.", false, func(t *text, u *unit) { t.plain(u, float64(u.Content.Active)) }},
	{"container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.", false, func(t *text, u *unit) { t.plain(u, float64(u.Content.Inactive)) }},
	{"container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", false, func(t *text, u *unit) { t.plain(u, float64(u.Memory.Usage)) }},
	{"container_memory_working_set_bytes", "Current working set in bytes.", false, func(t *text, u *unit) { t.plain(u, float64(u.Memory.WorkingSet)) }},
	{"container_network_receive_bytes_total", "Cumulative count of bytes received", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.received.bytes }) }},
	{"container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.received.errors }) }},
	{"container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.received.dropped }) }},
	{"container_network_receive_packets_total", "Cumulative count of packets received", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.received.packets }) }},
	{"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.sent.bytes }) }},
	{"container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.sent.errors }) }},
	{"container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.sent.dropped }) }},
	{"container_network_transmit_packets_total", "Cumulative count of packets transmitted", true, func(t *text, u *unit) { t.links(u, func(l *link) uint64 { return l.sent.packets }) }},
	{"container_oom_events_total", "Count of out of memory events observed for the container", true, func(t *text, u *unit) { t.optional(u, u.Content.OOMKills) }},
	{"container_pressure_cpu_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to CPU congestion.", true, func(t *text, u *unit) {
		t.pressure(u, u.Pressure.CPU, func(s *cgroupstat.Stall) uint64 { return s.Full.Total })
	}},
	{"container_pressure_cpu_waiting_seconds_total", "Total time duration tasks in the container have waited due to CPU congestion.", true, func(t *text, u *unit) {
		t.pressure(u, u.Pressure.CPU, func(s *cgroupstat.Stall) uint64 { return s.Some.Total })
	}},
	{"container_pressure_io_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to IO congestion.", true, func(t *text, u *unit) {
		t.pressure(u, u.Pressure.IO, func(s *cgroupstat.Stall) uint64 { return s.Full.Total })
	}},
	{"container_pressure_io_waiting_seconds_total", "Total time duration tasks in the container have waited due to IO congestion.", true, func(t *text, u *unit) {
		t.pressure(u, u.Pressure.IO, func(s *cgroupstat.Stall) uint64 { return s.Some.Total })
	}},
	{"container_pressure_memory_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to memory congestion.", true, func(t *text, u *unit) {
		t.pressure(u, u.Pressure.Memory, func(s *cgroupstat.Stall) uint64 { return s.Full.Total })
	}},
	{"container_pressure_memory_waiting_seconds_total", "Total time duration tasks in the container have waited due to memory congestion.", true, func(t *text, u *unit) {
		t.pressure(u, u.Pressure.Memory, func(s *cgroupstat.Stall) uint64 { return s.Some.Total })
	}},
	{"container_processes", "Number of processes running inside the container.", false, func(t *text, u *unit) { t.plain(u, float64(u.Tasks.Processes)) }},
	{"container_spec_cpu_period", "CPU period of the container.", false, func(t *text, u *unit) { t.set(u, u.Settings.Period) }},
	{"container_spec_cpu_quota", "CPU quota of the container.", false, func(t *text, u *unit) { t.set(u, u.Settings.Quota) }},
	{"container_spec_cpu_shares", "CPU share of the container.", false, func(t *text, u *unit) { t.set(u, u.Settings.Shares) }},
	{"container_spec_memory_limit_bytes", "Memory limit for the container.", false, func(t *text, u *unit) { t.set(u, orZero(u.Memory.Limit)) }},
	{"container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.", false, func(t *text, u *unit) { t.set(u, &u.Settings.Reservation) }},
	{"container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.", false, func(t *text, u *unit) { t.set(u, orZero(u.Settings.Swap)) }},
	{"container_start_time_seconds", "Start time of the container since unix epoch in seconds.", false, func(t *text, u *unit) {
		if !u.start.IsZero() {
			t.add(u.labels, labels{}, float64(u.start.Unix()), time.Time{})
		}
	}},
	{"container_threads", "Number of threads running inside the container", false, func(t *text, u *unit) { t.optional(u, u.Tasks.Threads) }},
	{"container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero", false, func(t *text, u *unit) { t.plain(u, float64(u.Settings.Threads)) }},
}

func seconds(ns uint64) float64 { return float64(ns) / 1e9 }

func (t *text) plain(u *unit, value float64) { t.add(u.labels, labels{}, value, u.At) }

func (t *text) optional(u *unit, value *uint64) {
	if value != nil {
		t.plain(u, float64(*value))
	}
}

// set tells what somebody has set: it has no time.
func (t *text) set(u *unit, value *uint64) {
	if value != nil {
		t.add(u.labels, labels{}, float64(*value), time.Time{})
	}
}

func orZero(limit *uint64) *uint64 {
	if limit == nil {
		return new(uint64)
	}
	return limit
}

func (t *text) throttled(u *unit, value float64) {
	if u.Settings.Quota != nil {
		t.plain(u, value)
	}
}

func (t *text) filesystems(u *unit, value func(*filesystem) int64) {
	for i := range u.disks {
		t.add(u.labels, labels{head: label("device", u.disks[i].device)}, float64(value(&u.disks[i])), u.At)
	}
}

// fsUsage is the node's, and what is in the writable layers of containers, whose device nobody tells.
func fsUsage(t *text, u *unit) {
	t.filesystems(u, func(f *filesystem) int64 { return f.Used })
	if u.layer.GetUsedBytes() != nil {
		t.add(u.labels, labels{head: `,device=""`}, float64(u.layer.UsedBytes.Value), time.Unix(0, u.layer.Timestamp))
	}
}

func (t *text) disks(u *unit, value func(*cgroupstat.Disk) uint64) {
	for i := range u.Disks {
		if d := &u.Disks[i]; t.device(d) != "" {
			t.add(u.labels, labels{head: t.device(d)}, float64(value(d)), u.At)
		}
	}
}

// device renders the name of a device, which is looked up once for an answer; "" when it has none.
func (t *text) device(d *cgroupstat.Disk) string {
	key := [2]uint32{d.Major, d.Minor}
	out, ok := t.devices[key]
	if !ok {
		if name := stats.Device(d.Major, d.Minor); name != "" {
			out = label("device", name)
		}
		if t.devices == nil {
			t.devices = map[[2]uint32]string{}
		}
		t.devices[key] = out
	}
	return out
}

func failures(t *text, u *unit) {
	for _, f := range []struct {
		kind, scope string
		value       uint64
	}{
		{`,failure_type="pgfault"`, `,scope="container"`, u.OwnFaults.Minor},
		{`,failure_type="pgfault"`, `,scope="hierarchy"`, u.Memory.Faults},
		{`,failure_type="pgmajfault"`, `,scope="container"`, u.OwnFaults.Major},
		{`,failure_type="pgmajfault"`, `,scope="hierarchy"`, u.Memory.MajorFaults},
	} {
		t.add(u.labels, labels{head: f.kind, tail: f.scope}, float64(f.value), u.At)
	}
}

func (t *text) links(u *unit, value func(*link) uint64) {
	for i := range u.links {
		t.add(u.labels, labels{mid: label("interface", u.links[i].name)}, float64(value(&u.links[i])), u.At)
	}
}

func (t *text) pressure(u *unit, s *cgroupstat.Stall, microseconds func(*cgroupstat.Stall) uint64) {
	if s != nil {
		t.plain(u, float64(microseconds(s))/1e6)
	}
}

// machineSeries are those of the machine, which bear its names.
func machineSeries(t *text, n *v1.Node, m stats.Node, failed bool) {
	info := n.Status.NodeInfo
	of := labels{head: label("boot_id", info.BootID)[1:] + label("machine_id", info.MachineID) + label("system_uuid", info.SystemUUID)}
	for _, s := range []struct {
		name, help string
		value      float64
	}{
		{"machine_cpu_cores", "Number of logical CPU cores.", float64(n.Status.Capacity.Cpu().Value())},
		{"machine_memory_bytes", "Amount of memory installed on the machine.", float64(m.Memory.Capacity)},
		{"machine_swap_bytes", "Amount of swap memory available on the machine.", float64(m.Swap.Capacity)},
	} {
		t.begin(&family{name: s.name, help: s.help})
		t.add(of, labels{}, s.value, time.Time{})
	}
	t.begin(&family{name: "machine_scrape_error", help: "1 if there was an error while getting machine metrics, 0 otherwise."})
	t.add(labels{}, labels{}, truth(failed), time.Time{})
}
