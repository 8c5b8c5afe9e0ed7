package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// series is one number of an exposition.
type series struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  float64
	at     time.Time // zero: now
	labels []string
}

func (s series) metric() prometheus.Metric {
	m := prometheus.MustNewConstMetric(s.desc, s.kind, s.value, s.labels...)
	if s.at.IsZero() {
		return m
	}
	return prometheus.NewMetricWithTimestamp(s.at, m)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// resourceDescs are the names of /metrics/resource, which the metrics server reads (KEP-727).
type resourceDescs struct {
	nodeCPU, nodeMemory, nodeSwap                                                    *prometheus.Desc
	podCPU, podMemory, podSwap                                                       *prometheus.Desc
	containerCPU, containerMemory, containerSwap, containerSwapLimit, containerStart *prometheus.Desc
	failed                                                                           *prometheus.Desc
}

func newResourceDescs() resourceDescs {
	pod, container := []string{"pod", "namespace"}, []string{"container", "pod", "namespace"}
	return resourceDescs{
		nodeCPU:            desc("node_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the node in core-seconds"),
		nodeMemory:         desc("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes"),
		nodeSwap:           desc("node_swap_usage_bytes", "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems"),
		podCPU:             desc("pod_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", pod...),
		podMemory:          desc("pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes", pod...),
		podSwap:            desc("pod_swap_usage_bytes", "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems", pod...),
		containerCPU:       desc("container_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the container in core-seconds", container...),
		containerMemory:    desc("container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes", container...),
		containerSwap:      desc("container_swap_usage_bytes", "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems", container...),
		containerSwapLimit: desc("container_swap_limit_bytes", "[ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems", container...),
		containerStart:     desc("container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", container...),
		failed:             desc("resource_scrape_error", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise"),
	}
}

// series are those of /metrics/resource. Of two pods of one name, one of which still ends, the later one counts.
func (d resourceDescs) series(s *statsapi.Summary, failed bool) []series {
	out := append(usage(s.Node.CPU, s.Node.Memory, d.nodeCPU, d.nodeMemory), swapped(s.Node.Swap, d.nodeSwap)...)
	for i, p := range s.Pods {
		if i+1 < len(s.Pods) && s.Pods[i+1].PodRef.Name == p.PodRef.Name && s.Pods[i+1].PodRef.Namespace == p.PodRef.Namespace {
			continue
		}
		labels := []string{p.PodRef.Name, p.PodRef.Namespace}
		out = append(out, usage(p.CPU, p.Memory, d.podCPU, d.podMemory, labels...)...)
		out = append(out, swapped(p.Swap, d.podSwap, labels...)...)
		for _, c := range p.Containers {
			out = append(out, d.container(c, []string{c.Name, p.PodRef.Name, p.PodRef.Namespace})...)
		}
	}
	bad := 0.0
	if failed {
		bad = 1
	}
	return append(out, series{d.failed, prometheus.GaugeValue, bad, time.Time{}, nil})
}

func (d resourceDescs) container(c statsapi.ContainerStats, labels []string) []series {
	used := usage(c.CPU, c.Memory, d.containerCPU, d.containerMemory, labels...)
	out := append(used, swapped(c.Swap, d.containerSwap, labels...)...)
	if s := c.Swap; s != nil && s.SwapUsageBytes != nil && s.SwapAvailableBytes != nil {
		out = append(out, series{d.containerSwapLimit, prometheus.GaugeValue, float64(*s.SwapUsageBytes + *s.SwapAvailableBytes), s.Time.Time, labels})
	}
	if len(used) > 0 && !c.StartTime.IsZero() {
		out = append(out, series{d.containerStart, prometheus.GaugeValue, float64(c.StartTime.UnixNano()) / 1e9, time.Time{}, labels})
	}
	return out
}

func swapped(s *statsapi.SwapStats, d *prometheus.Desc, labels ...string) []series {
	if s == nil || s.SwapUsageBytes == nil {
		return nil
	}
	return []series{{d, prometheus.GaugeValue, float64(*s.SwapUsageBytes), s.Time.Time, labels}}
}

func usage(c *statsapi.CPUStats, m *statsapi.MemoryStats, cpu, memory *prometheus.Desc, labels ...string) (out []series) {
	if c != nil && c.UsageCoreNanoSeconds != nil {
		out = append(out, series{cpu, prometheus.CounterValue, float64(*c.UsageCoreNanoSeconds) / 1e9, c.Time.Time, labels})
	}
	if m != nil && m.WorkingSetBytes != nil {
		out = append(out, series{memory, prometheus.GaugeValue, float64(*m.WorkingSetBytes), m.Time.Time, labels})
	}
	return out
}
