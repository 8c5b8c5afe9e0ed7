package testbed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func TestContainerd_RunsASandboxAndLeavesNothing(t *testing.T) {
	for _, want := range []string{"2.4", "1.6"} {
		t.Run("containerd "+want, func(t *testing.T) {
			var e *testbed.Env
			t.Cleanup(func() { assertGone(t, e) }) // runs last: after New's own cleanup
			e = testbed.New(t)
			cd := e.Containerd(testbed.ContainerdConfig{Version: want})
			version, err := cd.Runtime().Version(t.Context(), &runtimeapi.VersionRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimPrefix(version.RuntimeVersion, "v"); !strings.HasPrefix(got, want) {
				t.Errorf("runtime version %s, want %s", got, want)
			}
			hostPort := e.Port()
			sandbox, container := runWeb(t, e, cd, hostPort)
			status, err := cd.Runtime().PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox})
			if err != nil {
				t.Fatal(err)
			}
			ip := status.Status.Network.Ip
			testbed.Eventually(t, 5*time.Second, "the container answers on its address", func() error {
				return answers("http://"+ip+":8080/", "hello from smoke")
			})
			testbed.Eventually(t, 5*time.Second, "the container answers on the host port", func() error {
				return answers(fmt.Sprintf("http://%s:%d/", e.NodeIP(), hostPort), "hello from smoke")
			})
			exec, err := cd.Runtime().ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"/web", "exit", "3"}, Timeout: 5})
			if err != nil || exec.ExitCode != 3 {
				t.Errorf("exec gave %v, %v; want exit code 3", exec, err)
			}
		})
	}
}

func runWeb(t *testing.T, e *testbed.Env, cd *testbed.Containerd, hostPort int) (sandbox, container string) {
	t.Helper()
	ctx := t.Context()
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "smoke", Namespace: "default", Uid: smokeUID},
		Hostname:     "smoke",
		Labels:       map[string]string{"io.kubernetes.pod.uid": smokeUID},
		LogDirectory: e.Path("pods", "smoke"),
		PortMappings: []*runtimeapi.PortMapping{{HostPort: int32(hostPort), ContainerPort: 8080}},
		Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: e.CgroupRoot() + "/kubepods/pod" + smokeUID},
	}
	run, err := cd.Runtime().RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	created, err := cd.Runtime().CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId:  run.PodSandboxId,
		SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "web"},
			Labels:   map[string]string{"io.kubernetes.pod.uid": smokeUID},
			Image:    &runtimeapi.ImageSpec{Image: testbed.WebImage},
			LogPath:  "web.log",
			Linux:    &runtimeapi.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cd.Runtime().StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return run.PodSandboxId, created.ContainerId
}

const smokeUID = "0b1c2d3e-smoke"

func TestLeftBeside_NamesEverythingThatAPodOwns(t *testing.T) {
	e := testbed.New(t)
	cd := e.Containerd(testbed.ContainerdConfig{})
	root := e.Path("agent")
	if err := cd.LeftBeside(root); err != nil {
		t.Errorf("before any pod: %v", err)
	}
	sandbox, _ := runWeb(t, e, cd, e.Port())
	volume := filepath.Join(root, "pods", smokeUID, "volumes", "v")
	if err := errors.Join(os.MkdirAll(volume, 0o755), unix.Mount("tmpfs", volume, "tmpfs", 0, "size=1m")); err != nil {
		t.Fatal(err)
	}
	if err := cd.LeftBeside(root, smokeUID); err != nil {
		t.Errorf("beside the pod that runs: %v", err)
	}
	for _, uids := range [][]string{nil, {"another"}} {
		err := cd.LeftBeside(root, uids...)
		if err == nil {
			t.Fatalf("nothing is left beside %v", uids)
		}
		want := []string{"sandbox smoke", "container web", "mount " + volume, "directory pods/" + smokeUID, "cgroup /sys/fs/cgroup"}
		if uids == nil {
			want = append(want, "network namespace: 1", "veth: 1", "leased address: 1")
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("beside %v: %q is not in: %v", uids, w, err)
			}
		}
	}
	if _, err := cd.Runtime().StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		t.Fatal(err)
	}
	if _, err := cd.Runtime().RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		t.Fatal(err)
	}
	if err := cd.LeftBeside(root); err == nil || strings.Contains(err.Error(), "veth") || !strings.Contains(err.Error(), "cgroup") {
		t.Errorf("after the sandbox, with the directory and the cgroup: %v", err)
	}
}

func answers(url, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	got, err := testbed.Get(ctx, url)
	if err == nil && !strings.Contains(got, want) {
		err = fmt.Errorf("answer %q, want %q in it", got, want)
	}
	return err
}

// assertGone looks with other means than the harness: at the whole machine's mounts, links, cgroups and processes.
func assertGone(t *testing.T, e *testbed.Env) {
	t.Helper()
	var left []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), e.Dir+"/") {
		left = append(left, "mounts below "+e.Dir)
	}
	for _, path := range []string{e.Dir, "/sys/class/net/" + e.Bridge(), "/sys/fs/cgroup/memory" + e.CgroupRoot(), "/sys/fs/cgroup/pids" + e.CgroupRoot()} {
		if _, statErr := os.Stat(path); statErr == nil {
			left = append(left, path)
		}
	}
	rules, rulesErr := testbed.Run(context.Background(), "", "iptables-save", "-t", "nat")
	if strings.Contains(rules, strings.TrimSuffix(e.NodeIP(), "1")) {
		left = append(left, "iptables rules: "+rules)
	}
	cmdlines, globErr := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range cmdlines {
		if b, readErr := os.ReadFile(path); readErr == nil && strings.Contains(string(b), e.Dir+"/") {
			left = append(left, path+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	if len(left) > 0 || err != nil || globErr != nil || rulesErr != nil {
		t.Errorf("left behind: %s (%v)", strings.Join(left, ", "), errors.Join(err, globErr, rulesErr))
	}
}
