package critest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

// Suite is a runtime to be held to the contract.
type Suite struct {
	Client  *cri.Client
	Image   string        // an image that is present and has busybox's commands: sh, sleep, cat
	Dir     string        // for logs and files
	Cgroup  string        // parent of the pods' cgroups
	Tail    cri.Tail      // reads logs for termination messages
	Restart func()        // ends the runtime and starts it again, keeping its containers; nil leaves those tests out
	Network bool          // sandboxes get an address
	Within  time.Duration // in which an exit must be told by Watch
}

// Run runs the contract.
func Run(t *testing.T, s Suite) {
	t.Run("says who it is and that it is ready", s.testReady)
	t.Run("shows a container from creation to removal", s.testLife)
	t.Run("tells how containers ended", s.testExits)
	t.Run("runs commands in containers", s.testExec)
	t.Run("takes what is gone as stopped and removed", s.testGone)
	t.Run("knows images by name", s.testImages)
	t.Run("pokes the pod whose container ended", s.testWatch)
	if s.Restart != nil {
		t.Run("pokes all pods after a restart", s.testRestart)
	}
}

func (s Suite) testReady(t *testing.T) {
	v, err := s.Client.Version(t.Context())
	if err != nil || v.API != "v1" || v.Name == "" || v.Version == "" {
		t.Fatalf("Version() = %+v, %v", v, err)
	}
	status, err := s.Client.Status(t.Context(), true)
	if err != nil || !status.Runtime.Ready || !status.Network.Ready {
		t.Fatalf("Status() = %+v, %v; want runtime and network ready", status, err)
	}
	driver, err := s.Client.CgroupDriver(t.Context())
	if err != nil || driver != "" && driver != cri.Cgroupfs && driver != cri.Systemd {
		t.Fatalf("CgroupDriver() = %q, %v", driver, err)
	}
	m := cri.NewMonitor(s.Client)
	if changed, err := m.Check(t.Context()); err != nil || !changed || !m.Status().Runtime.Ready {
		t.Errorf("Check() = %v, %v; want a change to ready", changed, err)
	}
	t.Logf("%s, cgroup driver %q, handlers %+v, supplemental groups policy %v", v, driver, status.Handlers, status.SupplementalGroupsPolicy)
}

func (s Suite) testLife(t *testing.T) {
	p := s.run(t, v1.Container{Name: "main", Command: []string{"sh", "-c", "trap 'exit 7' TERM; echo -n ready >/dev/termination-log; while :; do sleep 0.1; done"}})
	boxes, containers := p.look(t)
	if len(boxes) != 1 || !boxes[0].Ready || boxes[0].ID != p.sandbox || s.Network != (len(boxes[0].IPs) > 0) {
		t.Fatalf("sandboxes %+v, want one that is ready, with an address: %v", boxes, s.Network)
	}
	c := only(t, containers)
	if c.State != pod.ContainerCreated || c.Name != "main" || c.SandboxID != p.sandbox || !c.StartedAt.IsZero() || c.CreatedAt.IsZero() {
		t.Fatalf("after creation: %+v", c)
	}
	p.start(t, c.ID)
	_, containers = p.look(t)
	c = only(t, containers)
	if c.State != pod.ContainerRunning || c.StartedAt.IsZero() || !c.FinishedAt.IsZero() || c.Hash != pod.ContainerHash(&p.spec.Spec.Containers[0]) {
		t.Fatalf("after start: %+v", c)
	}
	p.awaitMessage(t, "ready") // it has its trap: a signal that came before would be ignored
	if err := s.Client.StopContainer(t.Context(), c.ID, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	_, containers = p.look(t)
	c = only(t, containers)
	if c.State != pod.ContainerExited || c.ExitCode != 7 || c.Reason != "Error" || c.FinishedAt.IsZero() {
		t.Fatalf("after stop: %+v", c)
	}
	second := p.create(t, 0, 1)
	_, containers = p.look(t)
	if len(containers) != 2 || containers[0].ID != second || containers[0].Attempt != 1 || containers[1].ID != c.ID {
		t.Fatalf("containers %+v, want the second attempt first", containers)
	}
	all, err := p.observer.ObserveAll(t.Context())
	if want := (cri.Known{UID: string(p.spec.UID), Namespace: "default", Name: p.spec.Name}); err != nil || !slices.Contains(all, want) {
		t.Errorf("ObserveAll() = %v, %v; want %v in it", all, err, want)
	}
	p.remove(t)
	if boxes, containers := p.look(t); len(boxes)+len(containers) != 0 {
		t.Errorf("after removal: %+v %+v", boxes, containers)
	}
}

func (s Suite) testExits(t *testing.T) {
	tests := map[string]struct {
		command  []string
		policy   v1.TerminationMessagePolicy
		code     int32
		reason   string
		message  string
		startErr bool
	}{
		"success":           {command: []string{"true"}, reason: "Completed"},
		"failure":           {command: []string{"sh", "-c", "exit 42"}, code: 42, reason: "Error"},
		"last words":        {command: []string{"sh", "-c", "echo -n bye > /dev/termination-log; exit 1"}, code: 1, reason: "Error", message: "bye"},
		"last words, cut":   {command: []string{"sh", "-c", "yes | head -c 9000 > /dev/termination-log"}, reason: "Completed", message: strings.Repeat("y\n", 2048)},
		"end of the log":    {command: []string{"sh", "-c", "echo one; echo two; exit 1"}, policy: v1.TerminationMessageFallbackToLogsOnError, code: 1, reason: "Error", message: "one\ntwo\n"},
		"end of the errors": {command: []string{"sh", "-c", "echo one >&2; echo two >&2; exit 1"}, policy: v1.TerminationMessageFallbackToLogsOnError, code: 1, reason: "Error", message: "one\ntwo\n"},
		"no log on success": {command: []string{"sh", "-c", "echo one"}, policy: v1.TerminationMessageFallbackToLogsOnError, reason: "Completed"},
		"no such command":   {command: []string{"/no/such/program"}, code: 128, reason: "StartError", message: "/no/such/program", startErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := s.run(t, v1.Container{Name: "main", Command: tt.command, TerminationMessagePolicy: tt.policy})
			id := p.containers[0]
			err := s.Client.StartContainer(t.Context(), id)
			if (err != nil) != tt.startErr {
				t.Fatalf("StartContainer() error %v, want one: %v", err, tt.startErr)
			}
			c := p.awaitExit(t, id)
			if c.ExitCode != tt.code || c.Reason != tt.reason {
				t.Errorf("exit %d %s, want %d %s", c.ExitCode, c.Reason, tt.code, tt.reason)
			}
			if tt.startErr && strings.Contains(c.Message, tt.message) {
				return
			}
			if c.Message != tt.message {
				t.Errorf("message %q, want %q", c.Message, tt.message)
			}
		})
	}
}

func (s Suite) testExec(t *testing.T) {
	p := s.run(t, v1.Container{Name: "main", Command: []string{"sleep", "600"}})
	id := p.containers[0]
	p.start(t, id)
	r, err := s.Client.ExecSync(t.Context(), id, []string{"sh", "-c", "echo out; echo err >&2; exit 3"}, 10*time.Second)
	if err != nil || r.ExitCode != 3 || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" {
		t.Errorf("ExecSync() = %+v, %v", r, err)
	}
	if _, err := s.Client.ExecSync(t.Context(), id, []string{"sleep", "600"}, time.Second); !errors.Is(err, cri.ErrTimeout) {
		t.Errorf("ExecSync() beyond its timeout: %v, want ErrTimeout", err)
	}
	for what, f := range map[string]func() (string, error){
		"Exec": func() (string, error) {
			return s.Client.Exec(t.Context(), id, []string{"true"}, cri.Streams{Stdout: true})
		},
		"Attach":      func() (string, error) { return s.Client.Attach(t.Context(), id, cri.Streams{Stdout: true}) },
		"PortForward": func() (string, error) { return s.Client.PortForward(t.Context(), p.sandbox, []int32{80}) },
	} {
		if url, err := f(); err != nil || !strings.HasPrefix(url, "http") {
			t.Errorf("%s() = %q, %v; want a URL", what, url, err)
		}
	}
	stats, err := s.Client.ListContainerStats(t.Context(), string(p.spec.UID))
	if err != nil || len(stats) != 1 || stats[0].GetAttributes().GetId() != id {
		t.Errorf("ListContainerStats() = %v, %v; want the one container", stats, err)
	}
	if err := s.Client.ReopenContainerLog(t.Context(), id); err != nil {
		t.Errorf("ReopenContainerLog() = %v", err)
	}
}

func (s Suite) testGone(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	ctx := t.Context()
	for what, err := range map[string]error{
		"StopContainer":    s.Client.StopContainer(ctx, id, time.Second),
		"RemoveContainer":  s.Client.RemoveContainer(ctx, id),
		"StopPodSandbox":   s.Client.StopPodSandbox(ctx, id),
		"RemovePodSandbox": s.Client.RemovePodSandbox(ctx, id),
	} {
		if err != nil {
			t.Errorf("%s of what is gone: %v", what, err)
		}
	}
	if _, err := s.Client.ContainerStatus(ctx, id); !errors.Is(err, cri.ErrNotFound) {
		t.Errorf("ContainerStatus() = %v, want ErrNotFound", err)
	}
	if _, err := s.Client.PodSandboxStatus(ctx, id); !errors.Is(err, cri.ErrNotFound) {
		t.Errorf("PodSandboxStatus() = %v, want ErrNotFound", err)
	}
	if err := s.Client.StartContainer(ctx, id); !errors.Is(err, cri.ErrNotFound) {
		t.Errorf("StartContainer() = %v, want ErrNotFound", err)
	}
}

func (s Suite) testImages(t *testing.T) {
	i, err := s.Client.ImageStatus(t.Context(), s.Image)
	if err != nil || i == nil || i.ID == "" || i.Size == 0 || !slices.Contains(i.Tags, s.Image) {
		t.Fatalf("ImageStatus() = %+v, %v", i, err)
	}
	if byID, err := s.Client.ImageStatus(t.Context(), i.ID); err != nil || byID == nil || byID.ID != i.ID {
		t.Errorf("ImageStatus() by ID = %+v, %v", byID, err)
	}
	if none, err := s.Client.ImageStatus(t.Context(), "example.invalid/none:1"); err != nil || none != nil {
		t.Errorf("ImageStatus() of an image that is not there = %+v, %v; want nil", none, err)
	}
	all, err := s.Client.ListImages(t.Context())
	if err != nil || !slices.ContainsFunc(all, func(j cri.Image) bool { return j.ID == i.ID }) {
		t.Errorf("ListImages() = %v, %v; want %s in it", all, err, i.ID)
	}
	if fs, _, err := s.Client.ImageFilesystems(t.Context()); err != nil || len(fs) == 0 || fs[0].Mountpoint == "" {
		t.Errorf("ImageFilesystems() = %v, %v", fs, err)
	}
	if err := s.Client.RemoveImage(t.Context(), "example.invalid/none:1"); err != nil {
		t.Errorf("RemoveImage() of an image that is not there = %v", err)
	}
}

// sandboxed is a pod with a sandbox and created containers.
type sandboxed struct {
	Suite
	spec       *v1.Pod
	config     *runtimeapi.PodSandboxConfig
	sandbox    string
	containers []string
	observer   *cri.Observer
	messages   string // the file at terminationMessagePath
}

// run makes a sandbox and creates its containers; the test's cleanup removes them.
func (s Suite) run(t *testing.T, containers ...v1.Container) *sandboxed {
	t.Helper()
	name := fmt.Sprintf("p%x", time.Now().UnixNano())
	p := &sandboxed{Suite: s, observer: cri.NewObserver(s.Client, s.Tail, nil), messages: filepath.Join(s.Dir, name+".message")}
	p.spec = &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name)},
		Spec:       v1.PodSpec{Containers: containers, HostNetwork: !s.Network},
	}
	for i := range containers {
		containers[i].Image, containers[i].TerminationMessagePath = s.Image, "/dev/termination-log"
	}
	var err error
	p.config, err = cri.Sandbox(cri.SandboxInput{
		Pod: p.spec, LogRoot: filepath.Join(s.Dir, "logs"), Hostname: name, CgroupParent: s.Cgroup + "/" + name,
	})
	if err == nil {
		err = errors.Join(os.MkdirAll(s.Dir, 0o755), os.WriteFile(p.messages, nil, 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.remove(t) })
	if p.sandbox, err = s.Client.RunPodSandbox(t.Context(), p.config, ""); err != nil {
		t.Fatal(err)
	}
	for i := range containers {
		p.create(t, i, 0)
	}
	return p
}

func (p *sandboxed) create(t *testing.T, i int, attempt uint32) string {
	t.Helper()
	c := &p.spec.Spec.Containers[i]
	image, err := p.Client.ImageStatus(t.Context(), c.Image)
	if err != nil || image == nil {
		t.Fatalf("image %s: %v, %v", c.Image, image, err)
	}
	cfg, err := cri.Container(cri.ContainerInput{
		Pod: p.spec, Container: c, QOS: v1.PodQOSBestEffort, Attempt: attempt, Image: pod.Image{Ref: c.Image, ID: image.ID}, Command: c.Command,
		Mounts: []cri.Mount{{HostPath: p.messages, ContainerPath: c.TerminationMessagePath}},
		Node:   cri.Node{Capacity: resources.Capacity{Memory: 1 << 30}, CFS: resources.CFS{Quota: true}},
	})
	if err == nil {
		err = os.MkdirAll(filepath.Join(p.config.LogDirectory, c.Name), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	id, err := p.Client.CreateContainer(t.Context(), p.sandbox, cfg, p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.containers = append(p.containers, id)
	return id
}

func (p *sandboxed) start(t *testing.T, id string) {
	t.Helper()
	if err := p.Client.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func (p *sandboxed) look(t *testing.T) ([]pod.Sandbox, []pod.Container) {
	t.Helper()
	boxes, containers, err := p.observer.Observe(t.Context(), string(p.spec.UID))
	if err != nil {
		t.Fatal(err)
	}
	return boxes, containers
}

// awaitMessage waits until a container has written its termination message.
func (p *sandboxed) awaitMessage(t *testing.T, want string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		b, err := os.ReadFile(p.messages)
		if err == nil && string(b) == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the termination message is %q, %v; want %q", b, err, want)
		}
	}
}

// awaitExit looks again whenever the watcher pokes, as the agent does.
func (p *sandboxed) awaitExit(t *testing.T, id string) pod.Container {
	t.Helper()
	pokes := p.watch(t)
	deadline := time.After(30 * time.Second)
	for {
		_, containers := p.look(t)
		if c := (pod.Observed{Containers: containers}).ByID(id); c != nil && c.State == pod.ContainerExited {
			return *c
		}
		select {
		case <-pokes:
		case <-deadline:
			t.Fatalf("container did not exit: %+v", containers)
		}
	}
}

func (p *sandboxed) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if p.sandbox == "" {
		return
	}
	for _, id := range p.containers {
		if err := errors.Join(p.Client.StopContainer(ctx, id, 0), p.Client.RemoveContainer(ctx, id)); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(p.Client.StopPodSandbox(ctx, p.sandbox), p.Client.RemovePodSandbox(ctx, p.sandbox)); err != nil {
		t.Error(err)
	}
	p.sandbox, p.containers = "", nil
}

func only(t *testing.T, containers []pod.Container) pod.Container {
	t.Helper()
	if len(containers) != 1 {
		t.Fatalf("containers %+v, want one", containers)
	}
	return containers[0]
}
