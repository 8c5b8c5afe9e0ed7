package metrics

import (
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
)

// Agent counts what the agent does: /metrics and /metrics/probes. Its methods are safe for concurrent use.
type Agent struct {
	all, probes *prometheus.Registry

	operations, operationErrors *prometheus.CounterVec
	operationTime               *prometheus.HistogramVec
	startedPods                 prometheus.Counter
	startedContainers           *prometheus.CounterVec
	events                      *prometheus.CounterVec
	podStart                    prometheus.Histogram
	probed                      *prometheus.CounterVec
}

// NewAgent returns counters at zero. Version is the agent's.
func NewAgent(version string) *Agent {
	short := []float64{.005, .0125, .03125, .078125, .1953125, .48828125, 1.220703125, 3.0517578125, 7.62939453125, 19.073486328125}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	a := &Agent{
		all: prometheus.NewRegistry(), probes: prometheus.NewRegistry(),
		operations:      counter("kubelet_runtime_operations_total", "Cumulative number of runtime operations by operation type.", "operation_type"),
		operationErrors: counter("kubelet_runtime_operations_errors_total", "Cumulative number of runtime operation errors by operation type.", "operation_type"),
		operationTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_runtime_operations_duration_seconds", Help: "Duration in seconds of runtime operations. Broken down by operation type.", Buckets: short,
		}, []string{"operation_type"}),
		startedPods:       prometheus.NewCounter(prometheus.CounterOpts{Name: "kubelet_started_pods_total", Help: "Cumulative number of pods started"}),
		startedContainers: counter("kubelet_started_containers_total", "Cumulative number of containers started", "container_type"),
		events:            counter("minikubelet_events_total", "Cumulative number of events that the agent told, by reason.", "type", "reason"),
		podStart: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_pod_start_duration_seconds", Help: "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
			Buckets: []float64{.1, .25, .5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300},
		}),
		probed: counter("prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.",
			"probe_type", "result", "container", "pod", "namespace", "pod_uid"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kubernetes_build_info", Help: "A metric with a constant '1' value labeled by version.", ConstLabels: prometheus.Labels{"git_version": version},
	})
	build.Set(1)
	a.all.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
		a.operations, a.operationErrors, a.operationTime, a.startedPods, a.startedContainers, a.events, a.podStart)
	a.probes.MustRegister(a.probed)
	return a
}

// Show adds what is known only later: the node's name, its pods with their status, and more series.
func (a *Agent) Show(node string, pods func() []*v1.Pod, more ...prometheus.Collector) error {
	name := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_node_name", Help: "The node's name. The count is always 1.", ConstLabels: prometheus.Labels{"node": node}})
	name.Set(1)
	errs := []error{a.all.Register(name), a.all.Register(running{pods})}
	for _, c := range more {
		errs = append(errs, a.all.Register(c))
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

// Handler serves /metrics.
func (a *Agent) Handler() http.Handler {
	return promhttp.HandlerFor(a.all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Probes serves /metrics/probes.
func (a *Agent) Probes() http.Handler {
	return promhttp.HandlerFor(a.probes, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Operation counts one call of the runtime. Name is its method as gRPC has it: /runtime.v1.RuntimeService/RunPodSandbox.
func (a *Agent) Operation(method string, took time.Duration, err error) {
	name := operationType(method)
	a.operations.WithLabelValues(name).Inc()
	a.operationTime.WithLabelValues(name).Observe(took.Seconds())
	if err != nil {
		a.operationErrors.WithLabelValues(name).Inc()
	}
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

// Event counts an event, and what it tells of pods and containers that started or were evicted.
func (a *Agent) Event(typ, reason string) { a.events.WithLabelValues(typ, reason).Inc() }

// Started counts a container that started; kind is container, init_container or ephemeral_container.
func (a *Agent) Started(kind string) { a.startedContainers.WithLabelValues(kind).Inc() }

// PodStarted counts a pod all of whose containers run for the first time, and how long after it was seen.
func (a *Agent) PodStarted(after time.Duration) {
	a.startedPods.Inc()
	a.podStart.Observe(after.Seconds())
}

// Probed counts one probe's outcome; kind is Liveness, Readiness or Startup, result successful, failed or unknown.
func (a *Agent) Probed(kind, result, container string, p *v1.Pod) {
	a.probed.WithLabelValues(kind, result, container, p.Name, p.Namespace, string(p.UID)).Inc()
}

// Forget drops the series of a pod that is gone.
func (a *Agent) Forget(p *v1.Pod) {
	a.probed.DeletePartialMatch(prometheus.Labels{"pod_uid": string(p.UID)})
}

// running counts pods and containers when it is asked.
type running struct{ pods func() []*v1.Pod }

func (running) Describe(chan<- *prometheus.Desc) {}

func (r running) Collect(out chan<- prometheus.Metric) {
	pods, containers := 0, map[string]int{"created": 0, "running": 0, "exited": 0}
	for _, p := range r.pods() {
		if p.Status.Phase == v1.PodRunning {
			pods++
		}
		for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
			for _, c := range list {
				switch {
				case c.State.Running != nil:
					containers["running"]++
				case c.State.Terminated != nil:
					containers["exited"]++
				}
			}
		}
	}
	out <- prometheus.MustNewConstMetric(desc("kubelet_running_pods", "Number of pods that have a running pod sandbox"), prometheus.GaugeValue, float64(pods))
	d := desc("kubelet_running_containers", "Number of containers currently running", "container_state")
	for state, n := range containers {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), state)
	}
}
