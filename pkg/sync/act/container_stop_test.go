package act

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// A container that a restart of all removes from the runtime leaves its last log for `logs --previous`, and no older one.
func TestRemoveEarlierLogs_KeepsTheLastOneAndItsLink(t *testing.T) {
	root := t.TempDir()
	logs, links := filepath.Join(root, "pod", "c"), filepath.Join(root, "links")
	for _, d := range []string{logs, links} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"1.log", "1.log.20260101-000000.gz", "2.log", "2.log.20260101-000000.gz", "10.log", "strange"} {
		if err := os.WriteFile(filepath.Join(logs, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, log := range map[string]string{"old.log": "1.log", "last.log": "2.log"} {
		if err := os.Symlink(filepath.Join(logs, log), filepath.Join(links, link)); err != nil {
			t.Fatal(err)
		}
	}
	e := New(Config{Paths: Paths{ContainerLogs: links}})
	if err := e.removeEarlierLogs(logs, 2); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string][]string{logs: {"10.log", "2.log", "2.log.20260101-000000.gz", "strange"}, links: {"last.log"}} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", dir, diff)
		}
	}
	if err := e.removeEarlierLogs(filepath.Join(root, "none"), 2); err != nil {
		t.Errorf("no directory: %v", err)
	}
}

func TestTarget_IsTheRunningContainerThatAnEphemeralOneNames(t *testing.T) {
	p := &v1.Pod{}
	for name, target := range map[string]string{"debug": "web", "lost": "gone", "alone": ""} {
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, v1.EphemeralContainer{
			TargetContainerName: target, EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: name},
		})
	}
	in := plan.Input{Desired: pod.Desired{Pod: p}, Observed: pod.Observed{Containers: []pod.Container{
		{ID: "new", Name: "web", State: pod.ContainerRunning, Attempt: 1}, {ID: "old", Name: "web", State: pod.ContainerExited},
		{ID: "dead", Name: "gone", State: pod.ContainerExited},
	}}}
	for name, want := range map[string]string{"debug": "new", "alone": "", "web": ""} {
		if id, err := target(in, name); id != want || err != nil {
			t.Errorf("%s sees the processes of %q, %v; want %q", name, id, err, want)
		}
	}
	if _, err := target(in, "lost"); err == nil || !strings.Contains(err.Error(), "target container gone: it does not run") {
		t.Errorf("a target that has ended gives %v", err)
	}
}
