package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri/critest/criproxy"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// full has what the agent makes on the host for a container: an init container, one that restarts, and a mount of each kind
// that a node without a cluster has.
const full = `
metadata: {name: full, annotations: {note: here}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: first, image: $busybox, command: [sh, -c, "echo first"]}]
  containers:
  - name: again
    image: $busybox
    command: [sh, -c, "echo run; test -e /empty/tried && exec sleep 1000; touch /empty/tried; exit 1"]
    volumeMounts:
    - {name: empty, mountPath: /empty}
    - {name: empty, mountPath: /sub, subPath: of/it}
    - {name: memory, mountPath: /memory}
    - {name: made, mountPath: /made}
    - {name: info, mountPath: /info}
  volumes:
  - {name: empty, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: made, hostPath: {path: $made, type: DirectoryOrCreate}}
  - {name: info, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: "metadata.annotations['note']"}}]}}
`

// TestRuntime_ThatDoesNothingForItsClient runs a pod on a runtime that makes no directory itself.
func TestRuntime_ThatDoesNothingForItsClient(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Hook: criproxy.Strict(cgroupMount())})
	s.WriteManifest("full.yaml", pods(strings.ReplaceAll(full, "$made", s.env.Path("made"))))
	s.until("full", "has restarted", restarted("again", 1))
	p := s.ready("full")
	logs := filepath.Join(s.PodLogs, "default_"+p.Name+"_"+string(p.UID))
	for path, want := range map[string]string{"first/0.log": "first\n", "again/0.log": "run\n", "again/1.log": "run\n"} {
		if b, err := os.ReadFile(filepath.Join(logs, path)); err != nil || !bytes.HasSuffix(b, []byte(want)) {
			t.Errorf("log %s is %q, %v; want %q at its end", path, b, err, want)
		}
	}

	t.Log("a link that a pod has planted in the place of a container's logs")
	planted := filepath.Join(logs, "again")
	if err := errors.Join(os.RemoveAll(planted), os.Symlink(s.env.Path("elsewhere"), planted), os.Mkdir(s.env.Path("elsewhere"), 0o755)); err != nil {
		t.Fatal(err)
	}
	kill(t, s.cd, p.Status.ContainerStatuses[0].ContainerID)
	s.until("full", "waits for the link to go", func(p *v1.Pod) error {
		if w := p.Status.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != "CreateContainerConfigError" || !strings.Contains(w.Message, planted) {
			return fmt.Errorf("waiting is %v", w)
		}
		return nil
	})
	if entries, err := os.ReadDir(s.env.Path("elsewhere")); err != nil || len(entries) > 0 {
		t.Errorf("behind the link are %v, %v", entries, err)
	}
	if err := os.Remove(planted); err != nil {
		t.Fatal(err)
	}
	s.ready("full")
}

// kill ends a container from outside.
func kill(t *testing.T, cd *testbed.Containerd, id string) {
	t.Helper()
	_, id, _ = strings.Cut(id, "://")
	if _, err := cd.Runtime().StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
}

// cgroupMount is where a pod's cgroup is found.
func cgroupMount() string {
	const v1 = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(v1); err == nil {
		return v1
	}
	return "/sys/fs/cgroup"
}

// TestRuntime_EventStreamsThatEnd: pods come and exits are noticed however a runtime's event streams end, and an agent at rest
// costs next to nothing.
func TestRuntime_EventStreamsThatEnd(t *testing.T) {
	t.Parallel()
	mute := func(ctx context.Context, c *criproxy.Call) error {
		if c.Method != runtimeapi.RuntimeService_GetContainerEvents_FullMethodName {
			return c.Forward(ctx)
		}
		<-ctx.Done()
		return ctx.Err()
	}
	for name, hook := range map[string]criproxy.Hook{
		"refused":               criproxy.EndStreams(0, status.Error(codes.Unknown, "container events are disabled")),
		"ended at once":         criproxy.EndStreams(0, nil),
		"unavailable":           criproxy.EndStreams(0, status.Error(codes.Unavailable, "not now")),
		"broken off after 0.3s": criproxy.EndStreams(300*time.Millisecond, status.Error(codes.Internal, "broken off")),
		"mute":                  mute,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Hook: hook})
			for _, pod := range []string{"one", "two"} {
				s.WriteManifest(pod+".yaml", pods(`
metadata: {name: `+pod+`}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: $busybox, command: [sleep, "1000"]}]}
`))
				s.ready(pod)
			}
			kill(t, s.cd, s.ready("one").Status.ContainerStatuses[0].ContainerID) // of a mute stream it is known from here on
			s.until("one", "has restarted", restarted("c", 1))

			began := time.Now()
			kill(t, s.cd, s.ready("two").Status.ContainerStatuses[0].ContainerID)
			s.until("two", "has restarted", restarted("c", 1))
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("an exit was noticed after %s, want about a second", took)
			}

			agent, runtime := s.Process().CPU(), s.cd.Process().CPU()
			const rest = 10 * time.Second
			time.Sleep(rest)
			agent, runtime = s.Process().CPU()-agent, s.cd.Process().CPU()-runtime
			t.Logf("at rest for %s: the agent used %s, containerd %s", rest, agent, runtime)
			if agent > rest/20 || runtime > rest/20 {
				t.Errorf("at rest for %s the agent used %s and containerd %s, want at most a twentieth", rest, agent, runtime)
			}
			if n := strings.Count(s.Log(), "tells no events"); n > 1 {
				t.Errorf("the log says %d times that there are no events", n)
			}
		})
	}
}

// TestRuntime_EmptyAnswers: a runtime that answers nothing about one pod leaves all others alone.
func TestRuntime_EmptyAnswers(t *testing.T) {
	t.Parallel()
	pass := func(ctx context.Context, c *criproxy.Call) error { return c.Forward(ctx) }
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Hook: pass})
	template := `
metadata: {name: NAME}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: $busybox, command: [sleep, "1000"]}]}
`
	for _, name := range []string{"unclear", "other"} {
		s.WriteManifest(name+".yaml", pods(strings.ReplaceAll(template, "NAME", name)))
	}
	unclear, other := s.ready("unclear"), s.ready("other")
	_, id, _ := strings.Cut(unclear.Status.ContainerStatuses[0].ContainerID, "://")
	pid := s.Process().Pid()
	s.Proxy.Set(criproxy.Empty(runtimeapi.RuntimeService_ContainerStatus_FullMethodName, func(request []byte) bool {
		return bytes.Contains(request, []byte(id))
	}))
	kill(t, s.cd, unclear.Status.ContainerStatuses[0].ContainerID) // a change, so that it is asked about
	testbed.Eventually(t, soon, "an event says what the runtime does", func() error {
		out, err := s.CLI("get", "events", unclear.Name)
		if want := "error determining status: cannot ask for container " + id + ": the container runtime answered with no status"; !strings.Contains(out, want) {
			return fmt.Errorf("%q is not in: %s %w", want, out, err)
		}
		return nil
	})
	s.WriteManifest("late.yaml", pods(strings.ReplaceAll(template, "NAME", "late")))
	s.ready("late")
	kill(t, s.cd, other.Status.ContainerStatuses[0].ContainerID)
	s.until("other", "has restarted", restarted("c", 1))
	if now := s.Process(); !now.Running() || now.Pid() != pid {
		t.Fatal("the agent has ended")
	}
	if p, err := s.pod("unclear"); err != nil || p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod that nothing is known of is %+v, %v", p.Status, err)
	}
	s.Proxy.Set(pass)
	s.until("unclear", "has restarted", restarted("c", 1))

	t.Log("answers without an ID for what is new")
	s.Proxy.Set(criproxy.Empty(runtimeapi.RuntimeService_CreateContainer_FullMethodName, nil))
	s.WriteManifest("new.yaml", pods(strings.ReplaceAll(template, "NAME", "new")))
	s.until("new", "waits", func(p *v1.Pod) error {
		if c := p.Status.ContainerStatuses; len(c) == 0 || c[0].State.Waiting == nil || !strings.Contains(c[0].State.Waiting.Message, "answered with no container ID") {
			return errors.New("it does not")
		}
		return nil
	})
	s.Proxy.Set(pass)
	s.ready("new")
}
