package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	smallDisk = 32 * mebi

	// diskPod ends when it is told to on the host, and is restarted.
	diskPod = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "trap 'exit 0' TERM; echo up; until test -e /host/%s; do sleep 0.1; done; rm /host/%s; exit 3"]
    readinessProbe: {exec: {command: [test, -e, /scratch], }, periodSeconds: 1}
    volumeMounts: [{name: host, mountPath: /host}, {name: scratch, mountPath: /scratch}]
  volumes: [{name: host, hostPath: {path: "%s"}}, {name: scratch, emptyDir: {}}]
`
)

// TestCrash_DiskFull fills the file systems of the agent's directory and of the logs. What runs goes on, also over a
// restart of the agent; what is to leave leaves; what is to come or to be restarted waits, says why, and comes when there
// is space again.
func TestCrash_DiskFull(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{NotYet: true})
	for _, dir := range []string{s.RootDir, s.PodLogs} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(smallDisk)); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing may be evicted for want of disk: this is about what happens when there is none.
	s.Agent = s.env.Agent(testbed.AgentConfig{Containerd: s.cd, NotYet: true, Kubelet: map[string]any{
		"evictionHard": map[string]string{"memory.available": "1Mi"},
	}})
	s.Start()
	host := filepath.Dir(s.env.Path("host", "x"))
	add := func(name string) { s.WriteManifest(name+".yaml", pods(fmt.Sprintf(diskPod, name, name, name, host))) }
	for _, name := range []string{"stays", "restarts", "leaves"} {
		add(name)
	}
	stays := s.ready("stays")
	s.ready("restarts")
	leaves := s.ready("leaves")

	fill(t, s.RootDir)
	fill(t, s.PodLogs)
	t.Log("the disk is full")
	add("comes")
	if err := os.WriteFile(filepath.Join(host, "restarts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.RemoveManifest("leaves.yaml")
	testbed.Eventually(t, soon, "a pod leaves a full disk", func() error {
		if p, err := s.pod("leaves"); err == nil {
			return fmt.Errorf("it is still %s", p.Status.Phase)
		}
		return s.without(string(leaves.UID))
	})
	// What it has left has made some space.
	fill(t, s.RootDir)
	s.until("comes", "waits", func(p *v1.Pod) error {
		if p.Status.Phase != v1.PodPending {
			return errors.New("it does not wait")
		}
		return nil
	})
	if e := s.event("comes", "FailedRecord", "no space left on device"); e.Type != v1.EventTypeWarning || e.Count > 1 {
		t.Errorf("it is told as %+v", e)
	}
	unchanged := func() error {
		p, err := s.pod("stays")
		if err == nil && (isReady(p) != nil || container(p, "c").ContainerID != container(stays, "c").ContainerID || container(p, "c").RestartCount != 0) {
			err = fmt.Errorf("it is %+v", p.Status)
		}
		return err
	}
	testbed.Consistently(t, 2*time.Second, "what runs goes on", unchanged)

	s.Kill()
	s.Start()
	t.Log("the agent was killed and started on a full disk")
	testbed.Eventually(t, soon, "what runs goes on", unchanged)
	testbed.Consistently(t, 2*time.Second, "what runs goes on", unchanged)

	for _, dir := range []string{s.RootDir, s.PodLogs} {
		if err := os.Remove(filepath.Join(dir, fillFile)); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("there is space again")
	s.ready("comes")
	s.until("restarts", "was restarted", func(p *v1.Pod) error {
		if c := container(p, "c"); c.RestartCount != 1 || !c.Ready {
			return fmt.Errorf("it has %d restarts, ready %t", c.RestartCount, c.Ready)
		}
		return nil
	})
	if err := unchanged(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(s.Log(), "cannot persist a pod's record"); n > 12 {
		t.Errorf("the log says %d times that records cannot be written", n)
	}
	for _, name := range []string{"stays", "restarts"} {
		s.RemoveManifest(name + ".yaml")
	}
	s.gone("comes.yaml")
}

const fillFile = "filled"

// fill takes all the space that there is in a directory.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, fillFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		_, err := f.Write(block)
		switch {
		case errors.Is(err, unix.ENOSPC):
			block = block[:len(block)/2]
		case err != nil:
			t.Fatal(err)
		}
	}
}

// without returns an error that names what is left of one pod.
func (s *standalone) without(uid string) error {
	var list v1.PodList
	if err := s.local("/api/v1/pods", &list); err != nil {
		return err
	}
	var others []string
	for _, p := range list.Items {
		if string(p.UID) != uid {
			others = append(others, string(p.UID))
		}
	}
	return s.LeftBeside(others...)
}
