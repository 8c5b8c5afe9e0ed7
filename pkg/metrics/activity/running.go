package activity

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// running counts pods, containers and volumes when it is asked.
type running struct{ of Facts }

func (running) Describe(chan<- *prometheus.Desc) {}

// tally is what the pods come to.
type tally struct {
	running         int
	mirrors         int
	containers      map[string]int
	ephemeral       int
	desired, active map[string]int // by whether the pod is static
	resizing        int
	pending         map[string]int // resizes, by reason
	volumes         map[string]int // that are mounted, by plugin
}

func (r running) count() tally {
	t := tally{
		containers: map[string]int{"created": 0, "running": 0, "exited": 0}, desired: map[string]int{"": 0, "true": 0},
		active: map[string]int{"": 0, "true": 0}, pending: map[string]int{}, volumes: map[string]int{},
	}
	for _, p := range r.of.Pods() {
		t.add(p)
		mounts, err := r.of.Volumes(p.UID)
		if err != nil {
			continue // the pod's own loop tells of it
		}
		for _, m := range mounts {
			if m.Ready {
				t.volumes[plugin(m.Kind)]++
			}
		}
	}
	return t
}

func (t *tally) add(p *v1.Pod) {
	static := ""
	if pod.IsStatic(p) {
		static = "true"
	}
	t.desired[static]++
	if static != "" && !strings.HasPrefix(p.Status.Message, "Pod was rejected") {
		t.mirrors++
	}
	if p.Status.Phase != v1.PodSucceeded && p.Status.Phase != v1.PodFailed {
		t.active[static]++
	}
	if p.Status.Phase == v1.PodRunning {
		t.running++
	}
	t.ephemeral += len(p.Spec.EphemeralContainers)
	for c := range pod.Statuses(&p.Status) {
		switch {
		case c.State.Running != nil:
			t.containers["running"]++
		case c.State.Terminated != nil:
			t.containers["exited"]++
		}
	}
	for i := range p.Status.Conditions {
		switch c := &p.Status.Conditions[i]; {
		case c.Status != v1.ConditionTrue:
		case c.Type == v1.PodResizeInProgress:
			t.resizing++
		case c.Type == v1.PodResizePending:
			t.pending[c.Reason]++
		}
	}
}

// Collect tells the counts of now.
func (r running) Collect(out chan<- prometheus.Metric) {
	t := r.count()
	gauge := func(name, help string, n int) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, float64(n))
	}
	by := func(name, help, label string, counts map[string]int) {
		d := prometheus.NewDesc(name, help, []string{label}, nil)
		for value, n := range counts {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), value)
		}
	}
	const static = " static is true if the pod is not from the apiserver."
	gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox", t.running)
	gauge("kubelet_mirror_pods", "The number of mirror pods the kubelet will try to create (one per admitted static pod)", t.mirrors)
	gauge("kubelet_managed_ephemeral_containers", "Current number of ephemeral containers in pods managed by this kubelet.", t.ephemeral)
	gauge("kubelet_pod_in_progress_resizes", "Number of in-progress resizes for pods.", t.resizing)
	by("kubelet_running_containers", "Number of containers currently running", "container_state", t.containers)
	by("kubelet_desired_pods", "The number of pods the kubelet is being instructed to run."+static, "static", t.desired)
	by("kubelet_active_pods", "The number of pods the kubelet considers active and which are being considered when admitting new pods."+static, "static", t.active)
	by("kubelet_pod_pending_resizes", "Number of pending resizes for pods.", "reason", t.pending)
	volumes := prometheus.NewDesc("volume_manager_total_volumes", "Number of volumes in Volume Manager", []string{"plugin_name", "state"}, nil)
	for name, n := range t.volumes {
		out <- prometheus.MustNewConstMetric(volumes, prometheus.GaugeValue, float64(n), name, "actual_state_of_world")
	}
}
