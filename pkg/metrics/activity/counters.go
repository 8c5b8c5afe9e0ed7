package activity

import (
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Counters count what the agent does: /metrics and /metrics/probes. Their methods are safe for concurrent use.
type Counters struct {
	all, probes *prometheus.Registry

	runtime runtimeCounters
	pods    podCounters
	listing listingCounters
	storage *prometheus.HistogramVec
	images  imageVolumeCounters
	cgroups *prometheus.HistogramVec
	evicted *prometheus.CounterVec
	events  *prometheus.CounterVec
	waste   *prometheus.CounterVec
	probed  *prometheus.CounterVec
	probing *prometheus.HistogramVec
}

// runtimeCounters are of calls of the runtime.
type runtimeCounters struct {
	operations, errors *prometheus.CounterVec
	time               *prometheus.HistogramVec
	sandboxTime        *prometheus.HistogramVec
	sandboxErrors      *prometheus.CounterVec
}

// imageVolumeCounters are of volumes that are images.
type imageVolumeCounters struct{ requested, mounted, failed prometheus.Counter }

// listingCounters are of lists of all that the runtime has, which a kubelet calls its PLEG.
type listingCounters struct {
	time, interval prometheus.Histogram
	last           prometheus.Gauge
	before         atomic.Int64 // when the last one began, nanoseconds
}

func plain(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// histogram has the usual buckets unless others are given.
func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

func single(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// New returns counters at zero. Version is the agent's.
func New(version string) *Counters {
	const byType = "Broken down by operation type."
	c := &Counters{
		all: prometheus.NewRegistry(), probes: prometheus.NewRegistry(),
		runtime: runtimeCounters{
			operations:    counter("kubelet_runtime_operations_total", "Cumulative number of runtime operations by operation type.", "operation_type"),
			errors:        counter("kubelet_runtime_operations_errors_total", "Cumulative number of runtime operation errors by operation type.", "operation_type"),
			time:          histogram("kubelet_runtime_operations_duration_seconds", "Duration in seconds of runtime operations. "+byType, prometheus.ExponentialBuckets(.005, 2.5, 14), "operation_type"),
			sandboxTime:   histogram("kubelet_run_podsandbox_duration_seconds", "Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.", nil, "runtime_handler"),
			sandboxErrors: counter("kubelet_run_podsandbox_errors_total", "Cumulative number of the run_podsandbox operation errors by RuntimeClass.Handler.", "runtime_handler"),
		},
		pods: newPodCounters(),
		listing: listingCounters{
			time:     single("kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG.", nil),
			interval: single("kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting in PLEG.", nil),
			last:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_pleg_last_seen_seconds", Help: "Timestamp in seconds when PLEG was last seen active."}),
		},
		storage: histogram("storage_operation_duration_seconds", "Storage operation duration", []float64{.1, .25, .5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600}, "volume_plugin", "operation_name", "status", "migrated"),
		images: imageVolumeCounters{
			requested: plain("kubelet_image_volume_requested_total", "Number of requested image volumes."),
			mounted:   plain("kubelet_image_volume_mounted_succeed_total", "Number of successful image volume mounts."),
			failed:    plain("kubelet_image_volume_mounted_errors_total", "Number of failed image volume mounts."),
		},
		cgroups: histogram("kubelet_cgroup_manager_duration_seconds", "Duration in seconds for cgroup manager operations. Broken down by method.", nil, "operation_type"),
		waste:   counter("kubelet_image_garbage_collected_total", "Total number of images garbage collected by the kubelet, whether through disk usage or image age.", "reason"),
		evicted: counter("kubelet_evictions", "Cumulative number of pod evictions by eviction signal", "eviction_signal"),
		events:  counter("minikubelet_events_total", "Cumulative number of events that the agent told, by reason.", "type", "reason"),
		probed: counter("prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.",
			"probe_type", "result", "container", "pod", "namespace", "pod_uid"),
		probing: histogram("prober_probe_duration_seconds", "Duration in seconds for a probe response.", nil, "probe_type", "container", "pod", "namespace"),
	}
	c.all.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build(version), collectors.NewGoCollector(
		collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC, collectors.MetricsMemory)),
		c.runtime.operations, c.runtime.errors, c.runtime.time, c.runtime.sandboxTime, c.runtime.sandboxErrors,
		c.pods.started, c.pods.startErrors, c.pods.containers, c.pods.containerErrors, c.pods.start, c.pods.sinceCreation, c.pods.ofOnePod,
		c.pods.level.sli, c.pods.synced, c.pods.level.first, c.pods.namespaced, c.pods.namespacedErrors, c.pods.rejected, c.pods.restarted, c.pods.level.pulled, c.waste,
		c.listing.time, c.listing.interval, c.listing.last, c.storage, c.images.requested, c.images.mounted, c.images.failed, c.cgroups, c.evicted, c.events)
	c.probes.MustRegister(c.probed, c.probing)
	return c
}

// build is a series that tells the version: v1.36.3+minikubelet.0123456789ab.
func build(version string) prometheus.Collector {
	_, commit, _ := strings.Cut(version, "+minikubelet.")
	parts := append(strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3), "", "")
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kubernetes_build_info",
		Help: "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
		ConstLabels: prometheus.Labels{
			"major": parts[0], "minor": parts[1], "git_version": version, "git_commit": commit, "git_tree_state": "", "build_date": "",
			"go_version": runtime.Version(), "compiler": runtime.Compiler, "platform": runtime.GOOS + "/" + runtime.GOARCH,
		},
	})
	g.Set(1)
	return g
}

// Facts are what is known only when the agent is made. Functions may be called from any goroutine.
type Facts struct {
	Node      string
	CgroupV2  bool
	Pods      func() []*v1.Pod                                  // with their status
	Volumes   func(uid types.UID) (map[string]pod.Mount, error) // of a pod
	Collector []prometheus.Collector                            // more series
}

// Show adds what is known only later.
func (c *Counters) Show(f Facts) error {
	name := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_node_name", Help: "The node's name. The count is always 1.", ConstLabels: prometheus.Labels{"node": f.Node}})
	name.Set(1)
	version := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_cgroup_version", Help: "cgroup version on the hosts."})
	version.Set(1)
	if f.CgroupV2 {
		version.Set(2)
	}
	errs := []error{c.all.Register(name), c.all.Register(version), c.all.Register(running{f})}
	for _, more := range f.Collector {
		errs = append(errs, c.all.Register(more))
	}
	return errors.Join(errs...)
}

// CertificateTTL tells how long the agent's certificate is good for; of is client or server. Now returns the certificate
// in use, nil for none.
func CertificateTTL(of string, now func() *tls.Certificate) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubelet_certificate_manager_" + of + "_ttl_seconds",
		Help: "Gauge of the TTL (time-to-live) of the Kubelet's " + of + " certificate. The value is in seconds until certificate expiry (negative if already expired). If " + of + " certificate is invalid or unused, the value will be +INF.",
	}, func() float64 {
		if c := now(); c != nil && c.Leaf != nil {
			return math.Trunc(time.Until(c.Leaf.NotAfter).Seconds())
		}
		return math.Inf(1)
	})
}

// CertificateErrors tells how often a certificate could not be renewed; of is client or server.
func CertificateErrors(of string, count func() uint64) prometheus.Collector {
	name := map[string]string{"client": "kubelet_certificate_manager_client_expiration_renew_errors", "server": "kubelet_server_expiration_renew_errors"}[of]
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: "Counter of certificate renewal errors."}, func() float64 { return float64(count()) })
}

// Handler serves /metrics.
func (c *Counters) Handler() http.Handler {
	return promhttp.HandlerFor(c.all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Probes serves /metrics/probes.
func (c *Counters) Probes() http.Handler {
	return promhttp.HandlerFor(c.probes, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Operation counts one call of the runtime. Name is its method as gRPC has it: /runtime.v1.RuntimeService/RunPodSandbox.
func (c *Counters) Operation(method string, req any, took time.Duration, err error) {
	name := operationType(method)
	c.runtime.operations.WithLabelValues(name).Inc()
	c.runtime.time.WithLabelValues(name).Observe(took.Seconds())
	if err != nil {
		c.runtime.errors.WithLabelValues(name).Inc()
	}
	run, ok := req.(*runtimeapi.RunPodSandboxRequest)
	if !ok {
		return
	}
	c.runtime.sandboxTime.WithLabelValues(run.RuntimeHandler).Observe(took.Seconds())
	if u := run.GetConfig().GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions(); u != nil && u.GetMode() == runtimeapi.NamespaceMode_POD {
		c.pods.namespaced.Inc()
		if err != nil {
			c.pods.namespacedErrors.Inc()
		}
	}
	if err != nil {
		c.runtime.sandboxErrors.WithLabelValues(run.RuntimeHandler).Inc()
		c.pods.startErrors.Inc()
	}
}

// Listed counts a list of all that the runtime has.
func (c *Counters) Listed(began time.Time, took time.Duration) {
	c.listing.time.Observe(took.Seconds())
	if before := c.listing.before.Swap(began.UnixNano()); before > 0 {
		c.listing.interval.Observe(float64(began.UnixNano()-before) / 1e9)
	}
	c.listing.last.Set(float64(began.Add(took).Unix()))
}

// operationType is a method's name as monitoring has it: run_podsandbox, create_container, list_images.
func operationType(method string) string {
	name := method[strings.LastIndexByte(method, '/')+1:]
	name = strings.ReplaceAll(name, "PodSandbox", "Podsandbox")
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// event counts an event, and what it tells of pods and containers that started or were evicted.
func (c *Counters) event(typ, reason string) { c.events.WithLabelValues(typ, reason).Inc() }

// started counts a container that started; kind is container, init_container or ephemeral_container.
func (c *Counters) started(kind string) { c.pods.containers.WithLabelValues(kind).Inc() }

// Evicted counts a pod that was ordered to stop for want of what a signal measures.
func (c *Counters) Evicted(signal string) { c.evicted.WithLabelValues(signal).Inc() }

// seen counts a pod that is new here.
func (c *Counters) seen(p *v1.Pod) { c.pods.ofOnePod.Observe(float64(len(p.Spec.Containers))) }

// podStarted counts a pod all of whose containers run for the first time, and how long after it was seen.
func (c *Counters) podStarted(p *v1.Pod, after time.Duration, pulls []span, status v1.PodStatus) {
	c.pods.started.Inc()
	c.pods.start.Observe(after.Seconds())
	if p.CreationTimestamp.IsZero() {
		return
	}
	took := time.Since(p.CreationTimestamp.Time)
	c.pods.sinceCreation.Observe(took.Seconds())
	if stateful(p) {
		return
	}
	took = sli(took, pulls, status)
	c.pods.level.sli.Observe(took.Seconds())
	if !p.Spec.HostNetwork {
		c.pods.level.once.Do(func() { c.pods.level.first.Set(took.Seconds()) })
	}
}

// Probed counts one probe's outcome; kind is Liveness, Readiness or Startup, result successful, failed or unknown.
func (c *Counters) Probed(kind, result, container string, took time.Duration, p *v1.Pod) {
	c.probed.WithLabelValues(kind, result, container, p.Name, p.Namespace, string(p.UID)).Inc()
	if result != "failed" { // as a kubelet does
		c.probing.WithLabelValues(kind, container, p.Name, p.Namespace).Observe(took.Seconds())
	}
}

// forget drops the series of a pod that is gone.
func (c *Counters) forget(p *v1.Pod) {
	c.probed.DeletePartialMatch(prometheus.Labels{"pod_uid": string(p.UID)})
	c.probing.DeletePartialMatch(prometheus.Labels{"pod": p.Name, "namespace": p.Namespace})
}
