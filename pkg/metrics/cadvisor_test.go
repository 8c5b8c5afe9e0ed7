package metrics

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/stats"
)

// cadvisorOf is a collector of a node with one pod, in whose sandbox this process seems to run.
func cadvisorOf(t testing.TB, pods ...*v1.Pod) (*Collector, tree) {
	t.Helper()
	root := tree(t.TempDir())
	for _, path := range []string{"/", "/kubepods", "/kubepods/podu", "/kubepods/podu/cri-containerd-b0c5.scope", "/kubepods/podu/cri-containerd-c0ffee.scope"} {
		root.group(t, path, "2000000", "100")
		for name, content := range map[string]string{
			"cpu.max": "50000 100000", "pids.current": "4", "pids.max": "max", "cgroup.procs": fmt.Sprintln(os.Getpid()), "memory.peak": "200",
			"memory.events.local": "oom_kill 1", "io.stat": "0:0 rbytes=1\n",
		} {
			if err := os.WriteFile(filepath.Join(string(root), path, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, s := aPod("u")
	s.Attributes = &runtimeapi.PodSandboxAttributes{Id: "b0c5", Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u"}}
	s.Linux.Containers[0].WritableLayer = &runtimeapi.FilesystemUsage{Timestamp: 7e9, UsedBytes: &runtimeapi.UInt64Value{Value: 9}}
	node := &v1.Node{}
	node.Status.NodeInfo = v1.NodeSystemInfo{BootID: "b", MachineID: "m", SystemUUID: "s"}
	return NewCollector(Config{
		Cgroups: root, Classes: []string{"/kubepods/burstable"}, Boot: time.Unix(500, 0),
		System: func() []SystemGroup {
			return []SystemGroup{{Name: "pods", Path: "/kubepods", Start: time.Unix(600, 0)}}
		},
		Node: func() *v1.Node { return node }, Pods: func() []*v1.Pod { return pods },
		Sandboxes: func(context.Context) ([]*runtimeapi.PodSandboxStats, error) {
			return []*runtimeapi.PodSandboxStats{s}, nil
		},
		Stats: stats.New(stats.Config{V2: true, MemoryRoot: string(root), RootDir: t.TempDir()}),
	}), root
}

func aMeasuredPod() *v1.Pod {
	p, _ := aPod("u")
	p.Spec.Containers = []v1.Container{{Name: "c", Image: `odd"image`}}
	p.Status.StartTime = &metav1.Time{Time: time.Unix(1000, 0)}
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", ContainerID: "containerd://c0ffee", State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Unix(1001, 0)}}}}
	return p
}

func scrape(t testing.TB, c *Collector) string {
	t.Helper()
	w := httptest.NewRecorder()
	c.ServeCadvisor(w, httptest.NewRequest(http.MethodGet, "/metrics/cadvisor", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	return w.Body.String()
}

// The labels are a kubelet's: dashboards tell a pod's own series from its sandbox's and its containers' by them.
func TestCadvisor_NamesWhatItMeasures(t *testing.T) {
	c, _ := cadvisorOf(t, aMeasuredPod())
	const (
		pod       = `id="/kubepods/podu",image="",name="",namespace="ns",pod="u"`
		sandbox   = `id="/kubepods/podu/cri-containerd-b0c5.scope",image="",name="b0c5",namespace="ns",pod="u"`
		container = `id="/kubepods/podu/cri-containerd-c0ffee.scope",image="odd\"image",name="c0ffee",namespace="ns",pod="u"`
		node      = `id="/",image="",name="",namespace="",pod=""`
	)
	got := map[string]string{}
	for line := range strings.Lines(scrape(t, c)) {
		series, rest, _ := strings.Cut(line, "} ")
		if value := strings.Fields(rest); len(value) > 0 {
			got[series+"}"] = value[0]
		}
	}
	for series, want := range map[string]string{
		`container_cpu_usage_seconds_total{container="",cpu="total",` + node + `}`:                                        "2",
		`container_cpu_usage_seconds_total{container="c",cpu="total",` + container + `}`:                                  "2",
		`container_cpu_cfs_periods_total{container="c",` + container + `}`:                                                "0",
		`container_memory_working_set_bytes{container="",` + pod + `}`:                                                    "99",
		`container_memory_working_set_bytes{container="",` + sandbox + `}`:                                                "99",
		`container_memory_max_usage_bytes{container="c",` + container + `}`:                                               "200",
		`container_memory_failures_total{container="c",failure_type="pgmajfault",` + container + `,scope="hierarchy"}`:    "2",
		`container_pressure_cpu_waiting_seconds_total{container="c",` + container + `}`:                                   "4e-06",
		`container_start_time_seconds{container="c",` + container + `}`:                                                   "1001",
		`container_start_time_seconds{container="",` + pod + `}`:                                                          "1000",
		`container_start_time_seconds{container="",` + node + `}`:                                                         "500",
		`container_spec_cpu_quota{container="c",` + container + `}`:                                                       "50000",
		`container_spec_memory_limit_bytes{container="c",` + container + `}`:                                              "0",
		`container_fs_usage_bytes{container="c",device="",` + container + `}`:                                             "9",
		`container_oom_events_total{container="c",` + container + `}`:                                                     "1",
		`container_threads{container="c",` + container + `}`:                                                              "4",
		`machine_swap_bytes{boot_id="b",machine_id="m",system_uuid="s"}`:                                                  got[`machine_swap_bytes{boot_id="b",machine_id="m",system_uuid="s"}`],
		`container_cpu_usage_seconds_total{container="",cpu="total",id="/kubepods",image="",name="",namespace="",pod=""}`: "2",
	} {
		if value, ok := got[series]; !ok || value != want {
			t.Errorf("%s is %q, want %q", series, value, want)
		}
	}
	for series := range got {
		if strings.HasPrefix(series, "container_network_") && !strings.Contains(series, `name="b0c5"`) && !strings.Contains(series, `id="/",`) {
			t.Errorf("a network of what has none: %s", series)
		}
		if strings.HasPrefix(series, "container_fs_reads_") {
			t.Errorf("a device without a name: %s", series)
		}
	}
}

// What is in the text may be in any order but that of a family's series, which stand together behind its head.
func TestCadvisor_WritesFamiliesInOnePiece(t *testing.T) {
	c, _ := cadvisorOf(t, aMeasuredPod())
	var names []string
	for line := range strings.Lines(scrape(t, c)) {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		if text, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, _, _ = strings.Cut(text, " ")
			if slices.Contains(names, name) {
				t.Errorf("%s has two heads", name)
			}
			names = append(names, name)
			continue
		}
		if text, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(text, " ")
		}
		if len(names) == 0 || names[len(names)-1] != name {
			t.Errorf("a line of %s stands elsewhere: %s", name, line)
		}
	}
	if !slices.IsSortedFunc(containerFamilies, func(a, b family) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the families are not in order")
	}
}

// A pod in the host's network has none of its own.
func TestCadvisor_LeavesTheHostsNetworkToTheHost(t *testing.T) {
	p := aMeasuredPod()
	p.Spec.HostNetwork = true
	c, _ := cadvisorOf(t, p)
	for line := range strings.Lines(scrape(t, c)) {
		if strings.HasPrefix(line, "container_network_") && strings.Contains(line, `pod="u"`) {
			t.Error(line)
		}
	}
}

// What goes while it is read is left out; a runtime that is away is an error that is told, beside what is known without it.
func TestCadvisor_GoesOnWithoutWhatIsGone(t *testing.T) {
	c, root := cadvisorOf(t, aMeasuredPod())
	if err := os.RemoveAll(filepath.Join(string(root), "kubepods/podu")); err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, c); strings.Contains(text, `pod="u"`) || !strings.Contains(text, "container_scrape_error 0\n") {
		t.Errorf("%s", text)
	}
	c.cfg.Sandboxes = func(context.Context) ([]*runtimeapi.PodSandboxStats, error) { return nil, errors.New("away") }
	if text := scrape(t, c); !strings.Contains(text, "container_scrape_error 1\n") || !strings.Contains(text, `id="/kubepods"`) {
		t.Errorf("%s", text)
	}
}

func TestCadvisor_Compresses(t *testing.T) {
	c, _ := cadvisorOf(t)
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	c.ServeCadvisor(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || !strings.HasSuffix(string(b), "container_scrape_error 0\n") || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%s %v", b, err)
	}
}

func TestLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev")
	const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     1    1    1    1    0     0          0         0      1    1    1    1    0     0       0          0
  eth0:    10   11   12   13    0     0          0         0     20   21   22   23    0     0       0          0
veth12:     1    1    1    1    0     0          0         0      1    1    1    1    0     0       0          0
`
	if err := os.WriteFile(path, []byte(dev), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := links(path)
	want := []link{{"eth0", traffic{10, 11, 12, 13}, traffic{20, 21, 22, 23}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(link{}, traffic{})); diff != "" || err != nil {
		t.Errorf("(-want +got): %s %v", diff, err)
	}
}

func BenchmarkCadvisor(b *testing.B) {
	var pods []*v1.Pod
	for range 100 {
		pods = append(pods, aMeasuredPod()) // the same one: what it costs is what counts
	}
	c, _ := cadvisorOf(b, pods...)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		w.Body = nil
		c.ServeCadvisor(w, httptest.NewRequest(http.MethodGet, "/", nil))
	}
}
