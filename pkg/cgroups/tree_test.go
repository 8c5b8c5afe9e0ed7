package cgroups

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/cgroups"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// realTree works on the machine's own cgroups, below the memory cgroup that the test runs in, and removes what it made.
func realTree(t testing.TB) *Tree {
	t.Helper()
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	base := own["memory"] + own[""] // v1, or v2
	root := filepath.Join(base, fmt.Sprintf("minikubelet-test-%d", os.Getpid()))
	tree, err := New(Config{Root: root, CFS: resources.CFS{Quota: true}, PodPIDs: 100, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	var made []string // parents that hierarchies other than memory lack
	for _, h := range tree.all {
		for dir := base; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(h.dir, dir)); errors.Is(err, os.ErrNotExist) {
				made = append(made, filepath.Join(h.dir, dir))
			}
		}
	}
	t.Cleanup(func() {
		for _, h := range tree.all {
			if err := removeTree(filepath.Join(h.dir, root)); err != nil {
				t.Error(err)
			}
		}
		for _, dir := range made {
			_ = os.Remove(dir) // kept while another test uses it
		}
	})
	return tree
}

func podWith(uid types.UID, requests, limits v1.ResourceList) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: uid},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}}},
	}
}

func list(cpu, memory string) v1.ResourceList {
	return v1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}
}

// value reads one limit, by its v1 file or, on v2, by the other's.
func value(t *testing.T, tree *Tree, dir, controller, v1file, v2file string) string {
	t.Helper()
	file := v1file
	if tree.V2() {
		file = v2file
	}
	b, err := os.ReadFile(filepath.Join(tree.RootDir(controller), dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestTree_CreateAndRemove(t *testing.T) {
	tree := realTree(t)
	if err := tree.EnsureNode(resources.CgroupValues{CPUShares: 2048, Memory: 1 << 30, PIDs: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := tree.EnsureNode(resources.CgroupValues{CPUShares: 2048, Memory: 1 << 30, PIDs: 1000}); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if got := value(t, tree, tree.node.cgroupfs(), "memory", "memory.limit_in_bytes", "memory.max"); got != strconv.Itoa(1<<30) {
		t.Errorf("memory limit of all pods %s", got)
	}
	pods := []*v1.Pod{
		podWith("guaranteed-1", list("500m", "64Mi"), list("500m", "64Mi")),
		podWith("burstable-1", list("250m", "64Mi"), list("2", "128Mi")),
		podWith("besteffort-1", nil, nil),
	}
	for i, want := range []struct{ parent, shares, quota, memory string }{
		{"/kubepods/podguaranteed-1", "512", "50000", strconv.Itoa(64 << 20)},
		{"/kubepods/burstable/podburstable-1", "256", "200000", strconv.Itoa(128 << 20)},
		{"/kubepods/besteffort/podbesteffort-1", "2", "-1", "9223372036854771712"},
	} {
		p := pods[i]
		if tree.ExistsPod(p.UID) {
			t.Errorf("%s exists before it was made", p.UID)
		}
		for range 2 {
			if err := tree.CreatePod(p); err != nil {
				t.Fatal(err)
			}
		}
		if !tree.ExistsPod(p.UID) {
			t.Errorf("%s does not exist", p.UID)
		}
		parent := tree.Parent(p)
		if !strings.HasSuffix(parent, want.parent) {
			t.Errorf("parent %s, want the end %s", parent, want.parent)
		}
		if !tree.V2() {
			got := []string{
				value(t, tree, parent, "cpu", "cpu.shares", ""), value(t, tree, parent, "cpu", "cpu.cfs_quota_us", ""),
				value(t, tree, parent, "memory", "memory.limit_in_bytes", ""), value(t, tree, parent, "pids", "pids.max", ""),
			}
			if diff := cmp.Diff([]string{want.shares, want.quota, want.memory, "100"}, got); diff != "" {
				t.Errorf("%s: %s", p.UID, diff)
			}
		}
		if dir := tree.PodDir(p.UID, "memory"); !strings.HasSuffix(dir, want.parent) {
			t.Errorf("memory directory %q", dir)
		}
	}
	if err := tree.SetClasses(pods); err != nil {
		t.Error(err)
	}
	if err := tree.EnsureNode(resources.CgroupValues{}); err != nil {
		t.Error(err)
	}
	if got := value(t, tree, tree.node.child("burstable").cgroupfs(), "cpu", "cpu.shares", "cpu.weight"); !tree.V2() && got != "256" {
		t.Errorf("shares of burstable pods %s, want those that were set before", got)
	}
	got, err := tree.Leftovers()
	if diff := cmp.Diff([]types.UID{"besteffort-1", "burstable-1", "guaranteed-1"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, p := range pods {
		// What a runtime leaves: its own cgroups, in hierarchies that the agent makes nothing in as well.
		for _, h := range tree.all {
			if err := os.MkdirAll(filepath.Join(h.dir, tree.Parent(p), "container", "nested"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := tree.RemovePod(p.UID); err != nil {
				t.Error(err)
			}
		}
	}
	if got, err := tree.Leftovers(); len(got) != 0 || err != nil {
		t.Errorf("left over: %v %v", got, err)
	}
}

// A runtime that was asked by an agent that died makes a pod's cgroup again after it was removed, and cleans up in part.
func TestTree_SeesAndRemovesWhatIsLeftInOneHierarchy(t *testing.T) {
	tree := realTree(t)
	for _, h := range tree.all {
		n, err := tree.pod(v1.PodQOSBestEffort, "left-1")
		if err != nil {
			t.Fatal(err)
		}
		if tree.LeftOfPod("left-1") {
			t.Fatalf("before %s: something is left", h.dir)
		}
		if err := os.MkdirAll(filepath.Join(h.dir, tree.drv.path(n)), 0o755); err != nil {
			t.Fatal(err)
		}
		if !tree.LeftOfPod("left-1") {
			t.Errorf("what is left in %s is not seen", h.dir)
		}
		if err := tree.RemovePod("left-1"); err != nil {
			t.Error(err)
		}
	}
}

func TestTree_RemovePodTellsOfProcessesAndKillPodKillsThem(t *testing.T) {
	tree := realTree(t)
	p := podWith("busy", nil, nil)
	if err := tree.CreatePod(p); err != nil { // also without EnsureNode
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHelperWait$")
	cmd.Env = append(os.Environ(), "CGROUP_TEST_WAIT=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tree.PodDir("busy", "pids"), "ctr")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	err = tree.RemovePod("busy")
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("error %v, want %v with the process's ID", err, ErrBusy)
	}
	if !tree.ExistsPod("busy") {
		t.Error("the cgroup of a process is gone")
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process has ended: %v", err)
	}
	if killed, err := tree.KillPod("busy"); killed != 1 || err != nil {
		t.Errorf("KillPod() = %d, %v", killed, err)
	}
	_ = cmd.Wait()
	_ = stdin.Close()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("the process ended with %v", cmd.ProcessState)
	}
	if killed, err := tree.KillPod("busy"); killed != 0 || err != nil {
		t.Errorf("KillPod() of an empty cgroup = %d, %v", killed, err)
	}
	if err := tree.RemovePod("busy"); err != nil {
		t.Error(err)
	}
}

// TestHelperWait is the process of the test above: it ends with its standard input.
func TestHelperWait(*testing.T) {
	if os.Getenv("CGROUP_TEST_WAIT") != "" {
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
}

func TestSettings_V2(t *testing.T) {
	got := settingsV2(resources.CgroupValues{CPUShares: 1024, CPUQuota: 50000, CPUPeriod: 100000, Memory: 1 << 20, PIDs: 10,
		HugePages: map[string]int64{"2Mi": 4 << 20, "1Gi": 0}})
	want := []setting{
		{"cpu", "cpu.weight", "39"}, {"cpu", "cpu.max", "50000 100000"}, {"memory", "memory.max", "1048576"}, {"pids", "pids.max", "10"},
		{"hugetlb", "hugetlb.1GB.max", "0"}, {"hugetlb", "hugetlb.2MB.max", "4194304"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(setting{})); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkPod(b *testing.B) {
	tree := realTree(b)
	if err := tree.EnsureNode(resources.CgroupValues{}); err != nil {
		b.Fatal(err)
	}
	p := podWith("bench", list("250m", "64Mi"), list("2", "128Mi"))
	for b.Loop() {
		if err := tree.CreatePod(p); err != nil {
			b.Fatal(err)
		}
		if err := tree.RemovePod(p.UID); err != nil {
			b.Fatal(err)
		}
	}
}
