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
	nodeCPU, nodeMemory, nodeSwap                                *prometheus.Desc
	podCPU, podMemory, podSwap                                   *prometheus.Desc
	containerCPU, containerMemory, containerSwap, containerStart *prometheus.Desc
	failed, failedOld                                            *prometheus.Desc
}

func newResourceDescs() resourceDescs {
	pod, container := []string{"pod", "namespace"}, []string{"container", "pod", "namespace"}
	const failed = "1 if there was an error while getting container metrics, 0 otherwise"
	return resourceDescs{
		nodeCPU:         desc("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds"),
		nodeMemory:      desc("node_memory_working_set_bytes", "Current working set of the node in bytes"),
		nodeSwap:        desc("node_swap_usage_bytes", "Current swap usage of the node in bytes"),
		podCPU:          desc("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", pod...),
		podMemory:       desc("pod_memory_working_set_bytes", "Current working set of the pod in bytes", pod...),
		podSwap:         desc("pod_swap_usage_bytes", "Current swap usage of the pod in bytes", pod...),
		containerCPU:    desc("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", container...),
		containerMemory: desc("container_memory_working_set_bytes", "Current working set of the container in bytes", container...),
		containerSwap:   desc("container_swap_usage_bytes", "Current swap usage of the container in bytes", container...),
		containerStart:  desc("container_start_time_seconds", "Start time of the container since unix epoch in seconds", container...),
		failed:          desc("resource_scrape_error", failed),
		failedOld:       desc("scrape_error", failed),
	}
}

// series are those of /metrics/resource. Of two pods of one name, one of which still ends, the later one counts.
func (d resourceDescs) series(s *statsapi.Summary, failed bool) []series {
	out := usage(s.Node.CPU, s.Node.Memory, d.nodeCPU, d.nodeMemory)
	for i, p := range s.Pods {
		if i+1 < len(s.Pods) && s.Pods[i+1].PodRef.Name == p.PodRef.Name && s.Pods[i+1].PodRef.Namespace == p.PodRef.Namespace {
			continue
		}
		labels := []string{p.PodRef.Name, p.PodRef.Namespace}
		out = append(out, usage(p.CPU, p.Memory, d.podCPU, d.podMemory, labels...)...)
		for _, c := range p.Containers {
			labels := []string{c.Name, p.PodRef.Name, p.PodRef.Namespace}
			used := usage(c.CPU, c.Memory, d.containerCPU, d.containerMemory, labels...)
			out = append(out, used...)
			if c.Swap != nil && c.Swap.SwapUsageBytes != nil {
				out = append(out, series{d.containerSwap, prometheus.GaugeValue, float64(*c.Swap.SwapUsageBytes), c.Swap.Time.Time, labels})
			}
			if len(used) > 0 && !c.StartTime.IsZero() {
				out = append(out, series{d.containerStart, prometheus.GaugeValue, float64(c.StartTime.UnixNano()) / 1e9, time.Time{}, labels})
			}
		}
	}
	bad := 0.0
	if failed {
		bad = 1
	}
	return append(out, series{d.failed, prometheus.GaugeValue, bad, time.Time{}, nil}, series{d.failedOld, prometheus.GaugeValue, bad, time.Time{}, nil})
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
