package activity

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// podCounters are of pods and containers that come up.
type podCounters struct {
	started, startErrors           prometheus.Counter
	containers, containerErrors    *prometheus.CounterVec
	start, sinceCreation, ofOnePod prometheus.Histogram
	synced                         prometheus.Histogram
	namespaced, namespacedErrors   prometheus.Counter
	rejected, restarted            *prometheus.CounterVec
	level                          levelCounters
}

// levelCounters are of the service level of starts.
type levelCounters struct {
	sli    prometheus.Histogram
	first  prometheus.Gauge // of the first pod with a network of its own
	once   *sync.Once
	pulled *prometheus.HistogramVec
}

// podTimes are the buckets of what a pod takes to come up, in seconds.
var podTimes = []float64{.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}

func newPodCounters() podCounters {
	p := podCounters{
		level: levelCounters{
			sli:    single("kubelet_pod_start_sli_duration_seconds", "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch", podTimes),
			first:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_first_network_pod_start_sli_duration_seconds", Help: "Duration in seconds to start the first network pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch"}),
			once:   new(sync.Once),
			pulled: histogram("kubelet_image_pull_duration_seconds", "Duration in seconds to pull an image.", []float64{1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}, "image_size_in_bytes"),
		},
		started:          plain("kubelet_started_pods_total", "Cumulative number of pods started"),
		startErrors:      plain("kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods"),
		containers:       counter("kubelet_started_containers_total", "Cumulative number of containers started", "container_type"),
		containerErrors:  counter("kubelet_started_containers_errors_total", "Cumulative number of errors when starting containers", "container_type", "code"),
		start:            single("kubelet_pod_start_duration_seconds", "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run", podTimes),
		sinceCreation:    single("kubelet_pod_start_total_duration_seconds", "Duration in seconds to start a pod since creation, including time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch", podTimes),
		synced:           single("kubelet_pod_status_sync_duration_seconds", "Duration in seconds to sync a pod status update. Measures time from detection of a change to pod status until the API is successfully updated for that pod, even if multiple intevening changes to pod status occur.", []float64{.01, .05, .1, .5, 1, 5, 10, 20, 30, 45, 60}),
		rejected:         counter("kubelet_admission_rejections_total", "Cumulative number pod admission rejections by the Kubelet.", "reason"),
		restarted:        counter("kubelet_restarted_pods_total", "Number of pods that have been restarted because they were deleted and recreated with the same UID while the kubelet was watching them (common for static pods, extremely uncommon for API pods)", "static"),
		namespaced:       plain("kubelet_started_user_namespaced_pods_total", "Cumulative number of pods with user namespaces started. This metric will only be collected on Linux."),
		namespacedErrors: plain("kubelet_started_user_namespaced_pods_errors_total", "Cumulative number of errors when starting pods with user namespaces. This metric will only be collected on Linux."),
		ofOnePod:         single("kubelet_containers_per_pod_count", "The number of containers per pod.", prometheus.ExponentialBuckets(1, 2, 5)),
	}
	for _, static := range []string{"", "true"} {
		p.restarted.WithLabelValues(static)
	}
	return p
}

// Rejected counts a pod that this node does not take, by the reason.
func (c *Counters) Rejected(reason string) { c.pods.rejected.WithLabelValues(rejection(reason)).Inc() }

// Restarted counts a pod that is wanted again under its UID after it has ended.
func (c *Counters) Restarted(static bool) {
	c.pods.restarted.WithLabelValues(map[bool]string{true: "true"}[static]).Inc()
}

// Pulled counts a pull of an image that succeeded, and how long it took with the wait for its turn.
func (c *Counters) Pulled(bytes int64, took time.Duration) {
	c.pods.level.pulled.WithLabelValues(sizeOf(bytes)).Observe(took.Seconds())
}

// Removed counts an image that was removed; why is space or age.
func (c *Counters) Removed(why string) { c.waste.WithLabelValues(why).Inc() }

// Synced counts a status that reached the API server, after it had changed.
func (c *Counters) Synced(after time.Duration) { c.pods.synced.Observe(after.Seconds()) }
