package act

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
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

// hooking is a runtime whose commands run until their container is stopped.
type hooking struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	stopped chan struct{}
	grace   atomic.Int64
	hooks   atomic.Int64 // that run
	ran     atomic.Int64 // hooks that ran when SIGTERM came
}

func (r *hooking) ExecSync(ctx context.Context, _ *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	r.hooks.Add(1)
	defer r.hooks.Add(-1)
	select {
	case <-r.stopped:
		return &runtimeapi.ExecSyncResponse{ExitCode: 137}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *hooking) StopContainer(_ context.Context, q *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	r.grace.Store(q.Timeout)
	r.ran.Store(r.hooks.Load())
	close(r.stopped)
	return &runtimeapi.StopContainerResponse{}, nil
}

// serve makes an executor of a runtime, which keeps its events.
func (r *hooking) serve(t *testing.T) (*Executor, *sync.Map) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "cri.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s, done := grpc.NewServer(), make(chan error, 1)
	runtimeapi.RegisterRuntimeServiceServer(s, r)
	go func() { done <- s.Serve(l) }()
	c, err := cri.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Stop(); <-done })
	var events sync.Map
	return New(Config{Runtime: c, Event: func(_ *v1.Pod, _, _, reason, message string) { events.Store(reason, message) }}), &events
}

func TestStopContainer_AHookMayOutliveTheGracePeriodAndNotItsContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		hook  v1.LifecycleHandler
		runs  int64  // hooks when SIGTERM comes
		event string // of a failed hook
	}{
		"a command": {v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"drain"}}}, 1, `command "drain" exited with 137`},
		"a sleep":   {v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 600}}, 0, "<nil>"}, // it is done
	} {
		t.Run(name, func(t *testing.T) {
			r := &hooking{stopped: make(chan struct{})}
			e, events := r.serve(t)
			p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Lifecycle: &v1.Lifecycle{PreStop: &tt.hook}}}}}
			a := plan.Action{Kind: plan.ContainerStop, Name: "c", ID: "id", PreStop: true, Deadline: time.Now().Add(300 * time.Millisecond)}
			if err := e.stopContainer(t.Context(), plan.Input{Desired: pod.Desired{Pod: p}}, a); err != nil {
				t.Fatal(err)
			}
			if ran, left, grace := r.ran.Load(), r.hooks.Load(), r.grace.Load(); ran != tt.runs || left != 0 || grace != 2 {
				t.Errorf("%d hooks ran at SIGTERM and %d after the stop, which had %d s; want %d, 0 and 2", ran, left, grace, tt.runs)
			}
			if text, _ := events.Load("FailedPreStopHook"); !strings.Contains(fmt.Sprint(text), tt.event) {
				t.Errorf("the hook's event is %v, want one with %q", text, tt.event)
			}
		})
	}
}

func TestStopContainer_CancelingItEndsItsHook(t *testing.T) {
	r := &hooking{stopped: make(chan struct{})}
	e, events := r.serve(t)
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Lifecycle: &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 600}}}}}}}
	a := plan.Action{Kind: plan.ContainerStop, Name: "c", ID: "id", PreStop: true, Deadline: time.Now().Add(time.Hour)}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.stopContainer(ctx, plan.Input{Desired: pod.Desired{Pod: p}}, a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
	if text, told := events.Load("FailedPreStopHook"); told || r.grace.Load() != 0 {
		t.Errorf("the container was stopped, or its hook told of: %v", text)
	}
}

func TestStopContainer_HasTwoSecondsUnlessItIsToDieAtOnce(t *testing.T) {
	for left, want := range map[time.Duration]int64{-time.Second: 0, 0: 0, 100 * time.Millisecond: 2, 1500 * time.Millisecond: 2, 3500 * time.Millisecond: 4} {
		r := &hooking{stopped: make(chan struct{})}
		e, _ := r.serve(t)
		a := plan.Action{Kind: plan.ContainerStop, Name: "c", ID: "id", Deadline: time.Now().Add(left)}
		if err := e.stopContainer(t.Context(), plan.Input{Desired: pod.Desired{Pod: &v1.Pod{}}}, a); err != nil || r.grace.Load() != want {
			t.Errorf("with %v left it was given %d s, %v; want %d", left, r.grace.Load(), err, want)
		}
	}
}
