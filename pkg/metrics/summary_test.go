package metrics

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// tree is a control group file system of v2 in a directory.
type tree string

func (tree) V2() bool                { return true }
func (t tree) RootDir(string) string { return string(t) }
func (tree) Parent(p *v1.Pod) string { return "/kubepods/pod" + string(p.UID) }

// group makes a group that has used so many microseconds and holds so many bytes.
func (t tree) group(tb testing.TB, path, cpu, memory string) {
	tb.Helper()
	dir := filepath.Join(string(t), path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	const stall = "some avg10=1.00 avg60=2.00 avg300=3.00 total=4\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
	for name, content := range map[string]string{
		"cpu.stat": "usage_usec " + cpu, "memory.current": memory, "memory.stat": "anon 10\ninactive_file 1\npgfault 3\npgmajfault 2", "memory.max": "max",
		"memory.swap.current": "6", "memory.swap.max": "8", "cpu.pressure": stall, "memory.pressure": stall, "io.pressure": stall,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

var (
	pressed = &statsapi.PSIStats{Some: statsapi.PSIData{Avg10: 1, Avg60: 2, Avg300: 3, Total: 4}, Full: statsapi.PSIData{Total: 5}}
	number  = func(n uint64) *uint64 { return &n }
)

// aPod is a pod with one container, as a runtime tells of it that knows nothing of swap or pressure.
func aPod(uid types.UID) (*v1.Pod, *runtimeapi.PodSandboxStats) {
	value := func(n uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: n} }
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: string(uid), Namespace: "ns", UID: uid}, Status: v1.PodStatus{Phase: v1.PodRunning}}
	cpu := &runtimeapi.CpuUsage{UsageCoreNanoSeconds: value(7)}
	memory := &runtimeapi.MemoryUsage{UsageBytes: value(9), AvailableBytes: value(0)}
	c := &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{Id: "c0ffee", Metadata: &runtimeapi.ContainerMetadata{Name: "c"}}, Cpu: cpu, Memory: memory,
	}
	return p, &runtimeapi.PodSandboxStats{Linux: &runtimeapi.LinuxPodSandboxStats{Cpu: cpu, Memory: memory, Containers: []*runtimeapi.ContainerStats{c}}}
}

func TestSummary_FillsInWhatTheRuntimeDoesNotTell(t *testing.T) {
	root := tree(t.TempDir())
	root.group(t, "/kubepods/podu", "1", "100")
	root.group(t, "/kubepods/podu/cri-containerd-c0ffee.scope", "1", "100")
	c := NewCollector(Config{Cgroups: root})
	p, s := aPod("u")
	r := readings{Full: true, Node: &v1.Node{}, Pods: []*v1.Pod{p}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{"u": s}}
	c.groups(&r)
	got := summary(r).Pods[0]
	for name, part := range map[string]struct {
		cpu    *statsapi.CPUStats
		memory *statsapi.MemoryStats
		io     *statsapi.IOStats
		swap   *statsapi.SwapStats
	}{
		"pod":       {got.CPU, got.Memory, got.IO, got.Swap},
		"container": {got.Containers[0].CPU, got.Containers[0].Memory, got.Containers[0].IO, got.Containers[0].Swap},
	} {
		if part.io == nil || part.swap == nil {
			t.Fatalf("%s: %+v", name, part)
		}
		if diff := cmp.Diff([]*statsapi.PSIStats{pressed, pressed, pressed}, []*statsapi.PSIStats{part.cpu.PSI, part.memory.PSI, part.io.PSI}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]*uint64{number(6), number(2)}, []*uint64{part.swap.SwapUsageBytes, part.swap.SwapAvailableBytes}); diff != "" {
			t.Errorf("%s, swap (-want +got):\n%s", name, diff)
		}
		if part.memory.AvailableBytes != nil {
			t.Errorf("%s has no limit, and %d bytes are left of it", name, *part.memory.AvailableBytes)
		}
	}
}

// With no swap in the machine and CPU and memory alone wanted, no group of a pod is read: metrics-server asks all the time.
func TestSummary_ReadsNoGroupsOfPodsInVain(t *testing.T) {
	c := NewCollector(Config{Cgroups: tree(t.TempDir())})
	p, s := aPod("u")
	r := readings{Node: &v1.Node{}, Pods: []*v1.Pod{p}, Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{"u": s}}
	c.groups(&r)
	if r.Groups != nil {
		t.Errorf("%d groups were read", len(r.Groups))
	}
	if got := summary(r).Pods[0]; got.Swap == nil || *got.Swap.SwapUsageBytes != 0 || *got.Containers[0].Swap.SwapUsageBytes != 0 {
		t.Errorf("a machine without swap: %+v", got)
	}
	r.Machine.Swap.Capacity = 1 << 30
	if got := summary(r).Pods[0]; got.Swap != nil || got.Containers[0].Swap != nil {
		t.Errorf("swap that was not read: %+v", got)
	}
}

func TestSummary_OfTheNode(t *testing.T) {
	root := tree(t.TempDir())
	root.group(t, "/", "1000", "100")
	root.group(t, "/kubepods", "500", "60")
	made := time.Unix(1000, 0)
	c := NewCollector(Config{Cgroups: root, System: func() []SystemGroup {
		return []SystemGroup{{Name: "pods", Path: "/kubepods", Start: made}, {Name: "runtime", Path: "/gone"}}
	}})
	r := readings{
		Full: true, Node: &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, Images: &stats.Usage{Bytes: 5, Inodes: 6}, Layers: &stats.Usage{Bytes: 7, Inodes: 8},
		Machine: stats.Node{
			Memory: stats.Amount{Available: 1, Capacity: 200}, MemoryWS: 99, Swap: stats.Amount{Available: 3, Capacity: 10},
			Nodefs: stats.FS{Bytes: stats.Amount{Available: 10, Capacity: 100}, Used: 70}, Imagefs: stats.FS{Bytes: stats.Amount{Available: 10, Capacity: 100}, Used: 70},
		},
		Network: []statsapi.InterfaceStats{{Name: "bond0"}, {Name: "eth0", RxBytes: number(4)}},
	}
	if err := c.system(&r); err != nil {
		t.Fatal(err)
	}
	r.Root.Pressure = cgroupstat.Pressure{CPU: &cgroupstat.Stall{Some: cgroupstat.Share{Avg10: 1, Avg60: 2, Avg300: 3, Total: 4}, Full: cgroupstat.Share{Total: 5}}}
	got := summary(r).Node
	if len(got.SystemContainers) != 1 {
		t.Fatalf("system containers %+v", got.SystemContainers)
	}
	pods := got.SystemContainers[0]
	if pods.Name != "pods" || !pods.StartTime.Time.Equal(made) {
		t.Errorf("%+v", pods)
	}
	want := []*uint64{number(1000000), number(100), number(99), number(10), number(3), number(2), number(1), number(7), number(3), number(70), number(5), number(7), number(4), number(500000), number(60), number(59)}
	if diff := cmp.Diff(want, []*uint64{
		got.CPU.UsageCoreNanoSeconds, got.Memory.UsageBytes, got.Memory.WorkingSetBytes, got.Memory.RSSBytes, got.Memory.PageFaults, got.Memory.MajorPageFaults,
		got.Memory.AvailableBytes, got.Swap.SwapUsageBytes, got.Swap.SwapAvailableBytes, got.Fs.UsedBytes, got.Runtime.ImageFs.UsedBytes, got.Runtime.ContainerFs.UsedBytes,
		got.Network.RxBytes, pods.CPU.UsageCoreNanoSeconds, pods.Memory.UsageBytes, pods.Memory.WorkingSetBytes,
	}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(pressed, got.CPU.PSI); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.IO != nil || pods.IO == nil {
		t.Errorf("pressure on disks is told of %v and %v", got.IO, pods.IO)
	}
	r.Full = false
	if got := summary(r).Node; got.Fs != nil || got.Network != nil || got.Runtime != nil || got.SystemContainers[0].IO != nil || got.Swap == nil {
		t.Errorf("CPU and memory alone: %+v", got)
	}
}

// The rate is that between two requests that are not too close.
func TestRate(t *testing.T) {
	c, now := NewCollector(Config{}), time.Unix(1000, 0)
	for i, step := range []struct {
		after time.Duration
		used  uint64
		want  *uint64
	}{{0, 100, nil}, {time.Second, 200, number(100)}, {1500 * time.Millisecond, 900, number(100)}, {3 * time.Second, 1200, number(500)}, {5 * time.Second, 10, nil}} {
		if got := c.rate("/a", now.Add(step.after), step.used); cmp.Diff(step.want, got) != "" {
			t.Errorf("step %d: %s", i, cmp.Diff(step.want, got))
		}
	}
}
