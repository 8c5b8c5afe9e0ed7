package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const talkative = `
metadata: {name: talk}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "i=0; while [ $i -lt 1500 ]; do echo line $i of many that fill the log; i=$((i+1)); usleep 8000; done; while [ ! -e /stop/it ]; do usleep 100000; done"]
    volumeMounts: [{name: stop, mountPath: /stop}]
  volumes: [{name: stop, hostPath: {path: "%s", type: DirectoryOrCreate}}]
`

// TestLogsRotation lets a container write more than its log may hold while it is followed: the follower gets every line,
// the directory holds no more files than it may, the older ones compressed, and the link in /var/log/containers leads to
// the log that is being written.
func TestLogsRotation(t *testing.T) {
	t.Parallel()
	const files = 3
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Kubelet: map[string]any{
		"containerLogMaxSize": "16Ki", "containerLogMaxFiles": files, "containerLogMonitorInterval": "3s",
	}})
	stop := s.env.Path("stop")
	s.WriteManifest("pod.yaml", pods(fmt.Sprintf(talkative, stop)))
	p := s.until("talk", "runs", func(p *v1.Pod) error {
		if p.Status.Phase != v1.PodRunning {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		return nil
	})
	var following sync.WaitGroup
	var followed string
	var followErr error
	following.Go(func() { followed, followErr = s.CLI("logs", "-f", "talk") })
	dir := filepath.Join(s.PodLogs, "default_talk-"+s.NodeName+"_"+string(p.UID), "c")
	testbed.Eventually(t, 2*soon, "older logs are compressed and the oldest are gone", func() error {
		all, err := filepath.Glob(filepath.Join(dir, "0.log*"))
		packed, _ := filepath.Glob(filepath.Join(dir, "0.log.*.gz"))
		switch {
		case err != nil:
			return err
		case len(all) > files+1: // one that is being compressed is there twice
			t.Errorf("%d files: %q", len(all), all)
		case len(all) < files || len(packed) == 0:
			return fmt.Errorf("files are %q", all)
		}
		return nil
	})
	id := strings.TrimPrefix(container(p, "c").ContainerID, "containerd://")
	link := filepath.Join("/var/log/containers", fmt.Sprintf("talk-%s_default_c-%s.log", s.NodeName, id))
	if to, err := os.Readlink(link); err != nil || to != filepath.Join(dir, "0.log") {
		t.Errorf("%s leads to %q, %v", link, to, err)
	}
	testbed.Eventually(t, 2*soon, "the last line is written", func() error {
		if got := s.logs("talk", "c", "--tail", "1"); got != "line 1499 of many that fill the log\n" {
			return fmt.Errorf("the last line is %q", got)
		}
		return nil
	})
	if err := os.WriteFile(filepath.Join(stop, "it"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.phase("talk", v1.PodSucceeded)
	following.Wait()
	lines := strings.Split(strings.TrimSpace(followed), "\n")
	if followErr != nil || len(lines) != 1500 {
		t.Errorf("the follower got %d lines, %v", len(lines), followErr)
	}
	for i, line := range lines {
		if want := fmt.Sprintf("line %d of many that fill the log", i); line != want {
			t.Errorf("line %d is %q", i, line)
			break
		}
	}
	s.gone("pod.yaml")
	if _, err := os.Lstat(link); err == nil {
		t.Errorf("%s is left", link)
	}
	if _, err := os.Stat(filepath.Dir(dir)); err == nil {
		t.Errorf("%s is left", filepath.Dir(dir))
	}
}
