package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// cadvisorDescs are the container series that dashboards read from /metrics/cadvisor.
type cadvisorDescs struct {
	cores, memory                                                      *prometheus.Desc
	cpu, workingSet, usage, rss, failures, fs, inodes, start, lastSeen *prometheus.Desc
	processes, received, sent, receiveErrors, sendErrors               *prometheus.Desc
	cpuShares, memoryLimit                                             *prometheus.Desc
}

func newCadvisorDescs() cadvisorDescs {
	of := []string{"container", "id", "image", "name", "namespace", "pod"}
	with := func(l string) []string { return append([]string{l}, of...) }
	return cadvisorDescs{
		cores:         desc("machine_cpu_cores", "Number of logical CPU cores."),
		memory:        desc("machine_memory_bytes", "Amount of memory installed on the machine."),
		cpu:           desc("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", with("cpu")...),
		workingSet:    desc("container_memory_working_set_bytes", "Current working set in bytes.", of...),
		usage:         desc("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", of...),
		rss:           desc("container_memory_rss", "Size of RSS in bytes.", of...),
		failures:      desc("container_memory_failures_total", "Cumulative count of memory allocation failures.", append([]string{"failure_type", "scope"}, of...)...),
		fs:            desc("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", with("device")...),
		inodes:        desc("container_fs_inodes_total", "Number of Inodes", with("device")...),
		start:         desc("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", of...),
		lastSeen:      desc("container_last_seen", "Last time a container was seen by the exporter", of...),
		processes:     desc("container_processes", "Number of processes running inside the container.", of...),
		received:      desc("container_network_receive_bytes_total", "Cumulative count of bytes received", with("interface")...),
		sent:          desc("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", with("interface")...),
		receiveErrors: desc("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", with("interface")...),
		sendErrors:    desc("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", with("interface")...),
		cpuShares:     desc("container_spec_cpu_shares", "CPU share of the container.", of...),
		memoryLimit:   desc("container_spec_memory_limit_bytes", "Memory limit for the container.", of...),
	}
}

// series are the series of /metrics/cadvisor: a pod's own with an empty container, and its containers'.
func (d cadvisorDescs) series(r Readings, s *statsapi.Summary) []series {
	gauge := prometheus.GaugeValue
	out := []series{
		{d.cores, gauge, float64(r.Node.Status.Capacity.Cpu().Value()), time.Time{}, nil},
		{d.memory, gauge, float64(r.Node.Status.Capacity.Memory().Value()), time.Time{}, nil},
	}
	pods := map[types.UID]*v1.Pod{}
	for _, p := range r.Pods {
		pods[p.UID] = p
	}
	for _, p := range s.Pods {
		spec := pods[types.UID(p.PodRef.UID)]
		id := r.Sandboxes[spec.UID].GetAttributes().GetId()
		labels := []string{"", id, "", id, p.PodRef.Namespace, p.PodRef.Name}
		out = append(out, d.used(p.CPU, p.Memory, labels)...)
		if p.ProcessStats != nil && p.ProcessStats.ProcessCount != nil {
			out = append(out, series{d.processes, gauge, float64(*p.ProcessStats.ProcessCount), time.Time{}, labels})
		}
		if p.Network != nil {
			for _, i := range p.Network.Interfaces {
				out = append(out, d.network(i, labels)...)
			}
		}
		for _, c := range p.Containers {
			image, id := owner(spec, c.Name)
			out = append(out, d.container(c, spec, []string{c.Name, id, image, id, p.PodRef.Namespace, p.PodRef.Name})...)
		}
	}
	return out
}

func (d cadvisorDescs) container(c statsapi.ContainerStats, p *v1.Pod, labels []string) []series {
	out := d.used(c.CPU, c.Memory, labels)
	gauge := prometheus.GaugeValue
	if c.Rootfs != nil && c.Rootfs.UsedBytes != nil {
		out = append(out, series{d.fs, gauge, float64(*c.Rootfs.UsedBytes), c.Rootfs.Time.Time, append([]string{""}, labels...)})
	}
	if !c.StartTime.IsZero() {
		out = append(out, series{d.start, gauge, float64(c.StartTime.Unix()), time.Time{}, labels})
	}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, spec := range list {
			if limit := spec.Resources.Limits.Memory(); spec.Name == c.Name {
				out = append(out, series{d.memoryLimit, gauge, float64(limit.Value()), time.Time{}, labels})
			}
		}
	}
	return out
}

func (d cadvisorDescs) used(c *statsapi.CPUStats, m *statsapi.MemoryStats, labels []string) (out []series) {
	gauge := prometheus.GaugeValue
	if c != nil && c.UsageCoreNanoSeconds != nil {
		out = append(out, series{d.cpu, prometheus.CounterValue, float64(*c.UsageCoreNanoSeconds) / 1e9, c.Time.Time, append([]string{"total"}, labels...)},
			series{d.lastSeen, gauge, float64(c.Time.Unix()), time.Time{}, labels})
	}
	if m == nil {
		return out
	}
	for _, v := range []struct {
		desc  *prometheus.Desc
		value *uint64
	}{{d.workingSet, m.WorkingSetBytes}, {d.usage, m.UsageBytes}, {d.rss, m.RSSBytes}} {
		if v.value != nil {
			out = append(out, series{v.desc, gauge, float64(*v.value), m.Time.Time, labels})
		}
	}
	for kind, v := range map[string]*uint64{"pgfault": m.PageFaults, "pgmajfault": m.MajorPageFaults} {
		if v != nil {
			out = append(out, series{d.failures, prometheus.CounterValue, float64(*v), m.Time.Time, append([]string{kind, "container"}, labels...)})
		}
	}
	return out
}

func (d cadvisorDescs) network(i statsapi.InterfaceStats, labels []string) (out []series) {
	labels = append([]string{i.Name}, labels...)
	for _, v := range []struct {
		desc  *prometheus.Desc
		value *uint64
	}{{d.received, i.RxBytes}, {d.sent, i.TxBytes}, {d.receiveErrors, i.RxErrors}, {d.sendErrors, i.TxErrors}} {
		if v.value != nil {
			out = append(out, series{v.desc, prometheus.CounterValue, float64(*v.value), time.Time{}, labels})
		}
	}
	return out
}
