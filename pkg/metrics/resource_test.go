package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/stats"
)

// A runtime tells of a container's runs that are over, and a pod that still ends may have a successor: one series told twice
// would make the whole answer an error.
func TestResource_TellsEachContainerOnce(t *testing.T) {
	start := time.Unix(1000, 0)
	r := readings{Node: &v1.Node{}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{}}
	for i, uid := range []types.UID{"later", "earlier"} {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: uid}}
		p.Status.Phase, p.Status.StartTime = v1.PodRunning, &metav1.Time{Time: start.Add(time.Duration(-i) * time.Hour)}
		r.Pods = append(r.Pods, p)
		linux := &runtimeapi.LinuxPodSandboxStats{}
		for attempt, used := range []uint64{2, 7, 5} {
			linux.Containers = append(linux.Containers, &runtimeapi.ContainerStats{
				Attributes: &runtimeapi.ContainerAttributes{Metadata: &runtimeapi.ContainerMetadata{Name: "c", Attempt: uint32(attempt+1) % 3}},
				Memory:     &runtimeapi.MemoryUsage{WorkingSetBytes: &runtimeapi.UInt64Value{Value: used + uint64(10*i)}},
			})
		}
		r.Sandboxes[uid] = &runtimeapi.PodSandboxStats{Linux: linux}
	}
	if diff := cmp.Diff([]string{"container_memory_working_set_bytes c 7", "container_swap_limit_bytes c 0", "container_swap_usage_bytes c 0", "pod_swap_usage_bytes ns 0"}, told(t, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// told are the series of pods and containers in /metrics/resource.
func told(t *testing.T, r readings) (out []string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(once(newResourceDescs().series(summary(r), false))); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if len(m.Label) > 0 {
				out = append(out, fmt.Sprint(f.GetName(), " ", m.Label[0].GetValue(), " ", m.GetGauge().GetValue()+m.GetCounter().GetValue()))
			}
		}
	}
	return out
}

// The metrics server takes a container with a start and no use for one that it lost, and tells nothing of the whole pod: so
// it was when one had just ended and the status did not say so yet.
func TestResource_TellsNoStartOfWhatIsNotMeasured(t *testing.T) {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}, Status: v1.PodStatus{Phase: v1.PodRunning}}
	value := func(n uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: n} }
	linux := &runtimeapi.LinuxPodSandboxStats{}
	for _, name := range []string{"ended", "runs"} {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, v1.ContainerStatus{
			Name: name, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Unix(1000, 0)}},
		})
		c := &runtimeapi.ContainerStats{Attributes: &runtimeapi.ContainerAttributes{Metadata: &runtimeapi.ContainerMetadata{Name: name}}}
		if name == "runs" {
			c.Cpu, c.Memory = &runtimeapi.CpuUsage{UsageCoreNanoSeconds: value(3e9)}, &runtimeapi.MemoryUsage{WorkingSetBytes: value(5)}
		}
		linux.Containers = append(linux.Containers, c)
	}
	r := readings{Node: &v1.Node{}, Pods: []*v1.Pod{p}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{"u": {Linux: linux}}}
	want := []string{"container_cpu_usage_seconds_total runs 3", "container_memory_working_set_bytes runs 5", "container_start_time_seconds runs 1000", "container_swap_limit_bytes runs 0", "container_swap_usage_bytes runs 0", "pod_swap_usage_bytes ns 0"}
	if diff := cmp.Diff(want, told(t, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// These are a kubelet's: metrics-server and the dashboards of swap read them.
func TestResource_HasTheNamesOfAKubelet(t *testing.T) {
	p, s := aPod("u")
	s.Linux.Memory.WorkingSetBytes = &runtimeapi.UInt64Value{Value: 5}
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Unix(1000, 0)}}}}
	r := readings{Node: &v1.Node{}, Pods: []*v1.Pod{p}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{"u": s}, Machine: stats.Node{Memory: stats.Amount{Capacity: 1}}}
	r.Sandboxes["u"].Linux.Containers[0].Swap = &runtimeapi.SwapUsage{
		SwapUsageBytes: &runtimeapi.UInt64Value{Value: 3}, SwapAvailableBytes: &runtimeapi.UInt64Value{Value: 4},
	}
	w := httptest.NewRecorder()
	serve(w, httptest.NewRequest(http.MethodGet, "/", nil), newResourceDescs().series(summary(r), false))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if text, ok := strings.CutPrefix(line, "# TYPE "); ok {
			got = append(got, strings.TrimSpace(text))
		}
	}
	want := []string{
		"container_cpu_usage_seconds_total counter", "container_memory_working_set_bytes gauge", "container_start_time_seconds gauge",
		"container_swap_limit_bytes gauge", "container_swap_usage_bytes gauge", "node_cpu_usage_seconds_total counter",
		"node_memory_working_set_bytes gauge", "node_swap_usage_bytes gauge", "pod_cpu_usage_seconds_total counter",
		"pod_memory_working_set_bytes gauge", "pod_swap_usage_bytes gauge", "resource_scrape_error gauge",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := `container_swap_limit_bytes{container="c",namespace="ns",pod="u"} 7`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("%s is not in\n%s", want, w.Body)
	}
}

// What an init container uses was not to be seen until it had ended.
func TestSummary_TellsOfPodsThatInitialise(t *testing.T) {
	r := readings{Node: &v1.Node{}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{}}
	for _, phase := range []v1.PodPhase{"", v1.PodPending, v1.PodRunning, v1.PodSucceeded, v1.PodFailed} {
		r.Pods = append(r.Pods, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p" + string(phase), UID: types.UID("u" + phase)}, Status: v1.PodStatus{Phase: phase}})
		r.Sandboxes[types.UID("u"+phase)] = &runtimeapi.PodSandboxStats{}
	}
	var got []string
	for _, p := range summary(r).Pods {
		got = append(got, p.PodRef.Name)
	}
	if diff := cmp.Diff([]string{"p", "pPending", "pRunning"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Monitoring gets what can be told, also when there is something wrong with a part of it.
func TestServe_GoesOnWithoutWhatIsToldTwice(t *testing.T) {
	d := newResourceDescs()
	one := series{desc: d.nodeCPU, kind: prometheus.CounterValue, value: 1}
	w := httptest.NewRecorder()
	serve(w, httptest.NewRequest(http.MethodGet, "/", nil), []series{one, one, {desc: d.nodeMemory, kind: prometheus.GaugeValue, value: 2}})
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "node_memory_working_set_bytes 2") {
		t.Errorf("%d\n%s", w.Code, w.Body)
	}
}
