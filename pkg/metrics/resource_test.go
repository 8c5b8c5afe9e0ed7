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
)

// A runtime tells of a container's runs that are over, and a pod that still ends may have a successor: one series told twice
// would make the whole answer an error.
func TestResource_TellsEachContainerOnce(t *testing.T) {
	start := time.Unix(1000, 0)
	r := Readings{Node: &v1.Node{}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{}}
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
	registry := prometheus.NewRegistry()
	if err := registry.Register(once(newResourceDescs().series(Summary(r), false))); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.Metric {
			if len(m.Label) > 0 {
				got = append(got, fmt.Sprint(f.GetName(), " ", m.Gauge.GetValue()))
			}
		}
	}
	if diff := cmp.Diff([]string{"container_memory_working_set_bytes 7"}, got); diff != "" {
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
