package stats

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWorkingSet(t *testing.T) {
	for name, tc := range map[string]struct {
		v2    bool
		files map[string]string
		want  int64
	}{
		"v1":          {false, map[string]string{"memory.usage_in_bytes": "1000\n", "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n"}, 700},
		"v2":          {true, map[string]string{"memory.current": "1000\n", "memory.stat": "anon 400\nfile 500\ninactive_file 300\n"}, 700},
		"v2 root":     {true, map[string]string{"memory.stat": "anon 400\nfile 500\ninactive_file 300\n"}, 600},
		"never below": {false, map[string]string{"memory.usage_in_bytes": "100", "memory.stat": "total_inactive_file 300"}, 0},
	} {
		dir := t.TempDir()
		for f, content := range tc.files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := workingSet(dir, tc.v2); got != tc.want || err != nil {
			t.Errorf("%s: %d %v, want %d", name, got, err, tc.want)
		}
	}
}

// memoryRoot is the machine's own.
func memoryRoot() (string, bool) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "/sys/fs/cgroup", true
	}
	return "/sys/fs/cgroup/memory", false
}

func TestNode_OnThisMachine(t *testing.T) {
	root, v2 := memoryRoot()
	s := New(Config{MemoryRoot: root, V2: v2, RootDir: t.TempDir()})
	n, err := s.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	total := int64(info.Totalram) * int64(info.Unit)
	if n.Memory.Capacity != total || n.Memory.Available <= 0 || n.Memory.Available+n.MemoryWS != total {
		t.Errorf("memory %+v of %d", n.Memory, total)
	}
	if !n.Shared || n.Nodefs.Bytes.Available <= 0 || n.Nodefs.Bytes.Available > n.Nodefs.Bytes.Capacity {
		t.Errorf("file systems %+v", n)
	}
	if n.PIDs.Available <= 0 || n.PIDs.Available >= n.PIDs.Capacity {
		t.Errorf("processes %+v", n.PIDs)
	}
}

func TestPods(t *testing.T) {
	root, logs, cg := t.TempDir(), t.TempDir(), t.TempDir()
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u"},
		Spec: v1.PodSpec{
			Containers: []v1.Container{{Name: "c"}},
			Volumes: []v1.Volume{
				{Name: "data", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
				{Name: "mem", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}}},
			},
		},
	}
	write(t, filepath.Join(root, "pods/u/volumes/kubernetes.io~empty-dir/data/f"), 100<<10)
	write(t, filepath.Join(root, "pods/u/volumes/kubernetes.io~empty-dir/mem/f"), 100<<10)
	write(t, filepath.Join(logs, "n_p_u/c/0.log"), 50<<10)
	for f, content := range map[string]string{"memory.current": "5000", "memory.stat": "inactive_file 1000", "pids.current": "7\n"} {
		if err := os.WriteFile(filepath.Join(cg, f), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Config{
		V2: true, RootDir: root, LogDir: logs,
		PodCgroup: func(uid types.UID, _ string) string {
			if uid == "u" {
				return cg
			}
			return ""
		},
		Containers: func(context.Context) ([]RuntimeUsage, error) {
			return []RuntimeUsage{
				{Pod: "u", Container: "c", WorkingSet: 3000, Writable: 1 << 19, WritableInodes: 1},
				{Pod: "u", Container: "c", Writable: 1 << 19, WritableInodes: 2}, // a run that is over
			}, nil
		},
	})
	other := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "gone"}}
	got, err := s.Memory(t.Context(), []*v1.Pod{p, other})
	want := map[types.UID]Pod{"u": {
		WorkingSet: 4000, Processes: 7, Containers: []Container{{Name: "c", WorkingSet: 3000, Writable: Usage{1 << 20, 3}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	go s.Run(t.Context())
	disk, err := s.Disk(t.Context(), []*v1.Pod{p, other})
	if err != nil {
		t.Fatal(err)
	}
	u := disk["u"]
	if data := u.Volumes["data"].Bytes; data < 100<<10 || data > 200<<10 {
		t.Errorf("data holds %d bytes", data)
	}
	if sum := u.Volumes["data"].Bytes + u.Containers[0].Logs.Bytes + 1<<20; u.Disk.Bytes != sum {
		t.Errorf("disk %d, want %d: memory does not count, the rest does", u.Disk.Bytes, sum)
	}
	if u.Volumes["mem"].Bytes < 100<<10 || u.Containers[0].Logs.Bytes < 50<<10 {
		t.Errorf("%+v", u)
	}
}
