package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// crashingPod fails once and then runs: its restart count is 1.
const crashingPod = `
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, "echo >> /runs/NAME.main; [ -e /runs/NAME.once ] || { touch /runs/NAME.once; exit 1; }; RUN"]
    volumeMounts: [{name: runs, mountPath: /runs}]
  volumes:
  - {name: runs, hostPath: {path: RUNS}}
`

// running returns nil when a pod reports its containers ready with the given restarts each.
func (n *crashNode) running(name string, restarts int32) error {
	n.t.Helper()
	n.containers()
	pods, err := n.pods()
	if err != nil {
		return err
	}
	p := pods[name]
	if p == nil {
		return errors.New("not reported")
	}
	if p.Status.Phase != v1.PodRunning || !podReady(p) {
		return fmt.Errorf("phase %s: %s", p.Status.Phase, stateText(p.Status.ContainerStatuses))
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.RestartCount != restarts || s.State.Running == nil {
			return fmt.Errorf("want %d restarts: %s", restarts, stateText(p.Status.ContainerStatuses))
		}
	}
	return nil
}

func (n *crashNode) uid(name string) string {
	n.t.Helper()
	pods, err := n.pods()
	if err != nil || pods[name] == nil {
		n.t.Fatalf("pod %s is not reported: %v", name, err)
	}
	return string(pods[name].UID)
}

// same returns nil while a pod runs in the containers that it ran in.
func (n *crashNode) same(name string, ids map[string]string) error {
	n.t.Helper()
	if now := n.ids(name); !maps.Equal(now, ids) {
		return fmt.Errorf("the containers of %s are %v, were %v", name, now, ids)
	}
	return nil
}

// TestCrash_OfTheRuntimeAndItsMemory kills containerd under running pods, takes it away while a pod arrives, and loses
// the agent's records while the agent is down.
func TestCrash_OfTheRuntimeAndItsMemory(t *testing.T) {
	t.Parallel()
	n := newCrashNode(t)
	n.a.Start()
	n.add("whole", crashPod)
	n.add("once", crashingPod)
	testbed.Eventually(t, crashSoon, "a pod runs", func() error { return n.up("whole", nil) })
	testbed.Eventually(t, crashSoon, "a pod runs after it failed", func() error { return n.running("once", 1) })
	whole, once := n.ids("whole"), n.ids("once")

	n.cd.Kill()
	n.cd.Start()
	steady := func() error {
		if err := n.same("once", once); err != nil {
			return err
		}
		return errors.Join(n.running("once", 1), n.up("whole", whole))
	}
	testbed.Consistently(t, 2*time.Second, "containerd's crash changes nothing", steady)

	n.cd.Stop()
	n.add("late", crashPod)
	testbed.Consistently(t, 5*time.Second, "without containerd the last status stands", func() error {
		pods, err := n.pods()
		if err == nil {
			err = reportsUp(pods["whole"], whole, nil)
		}
		return err
	})
	n.cd.Start()
	testbed.Eventually(t, crashSoon, "the pod that came meanwhile runs", func() error { return n.up("late", nil) })
	late := n.ids("late")
	if err := steady(); err != nil {
		t.Error(err)
	}

	t.Log("records are garbled, lost, and of a newer version")
	all := func() error { return errors.Join(steady(), n.up("late", late)) }
	truncated, deleted, newer := n.a.RecordFile(n.uid("whole")), n.a.RecordFile(n.uid("once")), n.a.RecordFile(n.uid("late"))
	n.a.Kill()
	if err := errors.Join(os.Truncate(truncated, 100), os.Remove(deleted), addField(newer, "fromTheFuture", map[string]int{"version": 2})); err != nil {
		t.Fatal(err)
	}
	n.a.Start()
	testbed.Eventually(t, crashSoon, "pods without records are taken up", all)
	if err := os.Remove(truncated + ".bad"); err != nil {
		t.Errorf("the garbled record was not set aside: %v", err)
	}
	testbed.Consistently(t, time.Second, "and go on", all)

	t.Log("all of the agent's own memory is lost while the pods run")
	n.a.Kill()
	for _, dir := range []string{"minikubelet", "cni", "seccomp"} {
		if err := os.RemoveAll(filepath.Join(n.a.RootDir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	n.a.Start()
	testbed.Eventually(t, crashSoon, "pods are taken up from what is seen of them", all)
	testbed.Consistently(t, time.Second, "and go on", all)
	for _, name := range []string{"whole", "once", "late"} {
		n.a.RemoveManifest(name + ".yaml")
	}
	testbed.Eventually(t, crashSoon, "nothing is left", func() error { return n.nothingLeft() })
	n.quiet()
}

// addField adds to the JSON object in a file.
func addField(path, name string, value any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	object[name] = value
	if b, err = json.Marshal(object); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// TestCrash_OfARuntimeThatHangs stops containerd's process, lets it run a fifth of the time, and starts the agent while it
// is away. What runs is reported as it was, and what comes and goes meanwhile has come and gone in the end.
func TestCrash_OfARuntimeThatHangs(t *testing.T) {
	t.Parallel()
	n := newCrashNode(t)
	n.a.Start()
	n.add("whole", crashPod)
	n.add("leaves", crashPod)
	testbed.Eventually(t, crashSoon, "a pod runs", func() error { return errors.Join(n.up("whole", nil), n.up("leaves", nil)) })
	whole := n.ids("whole")
	stands := func() error {
		pods, err := n.pods()
		if err == nil {
			err = reportsUp(pods["whole"], whole, nil)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, healthy := testbed.Get(ctx, n.a.Healthz)
		return errors.Join(err, healthy)
	}

	t.Log("containerd hangs")
	n.cd.Process().Signal(syscall.SIGSTOP)
	n.add("comes", crashPod)
	n.a.RemoveManifest("leaves.yaml")
	testbed.Consistently(t, 8*time.Second, "the last status stands", stands)
	n.cd.Process().Signal(syscall.SIGCONT)
	testbed.Eventually(t, crashSoon, "the pod that came meanwhile runs", func() error { return n.up("comes", nil) })
	uids := []string{n.uid("whole"), n.uid("comes")}
	testbed.Eventually(t, crashSoon, "the pod that left meanwhile is gone", func() error { return n.nothingLeft(uids...) })

	t.Log("containerd is slow")
	n.slowly(func() {
		n.add("slow", crashPod)
		n.a.RemoveManifest("comes.yaml")
		testbed.Eventually(t, 3*crashSoon, "a pod comes up slowly", func() error { return n.up("slow", nil) })
		uids = []string{n.uid("whole"), n.uid("slow")}
		testbed.Eventually(t, 3*crashSoon, "another leaves slowly", func() error { return n.nothingLeft(uids...) })
	})

	t.Log("containerd is away when the agent starts")
	n.a.Kill()
	n.cd.Stop()
	n.a.Launch()
	n.a.RemoveManifest("slow.yaml")
	testbed.Consistently(t, 3*time.Second, "the agent waits", func() error {
		if !n.a.Process().Running() {
			return errors.New("it has ended")
		}
		return nil
	})
	n.cd.Start()
	testbed.Eventually(t, crashSoon, "the agent takes up its work", func() error { return errors.Join(n.up("whole", whole), n.nothingLeft(uids[0])) })
	n.a.RemoveManifest("whole.yaml")
	testbed.Eventually(t, crashSoon, "nothing is left", func() error { return n.nothingLeft() })
	n.quiet()
}

// slowly lets containerd run a fifth of the time.
func (n *crashNode) slowly(during func()) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	var slowing sync.WaitGroup
	slowing.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		defer n.cd.Process().Signal(syscall.SIGCONT)
		for turn := 0; ; turn++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			switch turn % 5 {
			case 0:
				n.cd.Process().Signal(syscall.SIGCONT)
			case 1:
				n.cd.Process().Signal(syscall.SIGSTOP)
			}
		}
	})
	defer slowing.Wait()
	defer cancel()
	during()
}

// TestCrash_OfTheNode cuts the power: everything that ran is gone, and all that is on disk is as it was. The pods run
// again, in new sandboxes, with their restarts counted; a pod whose manifest is gone leaves nothing.
func TestCrash_OfTheNode(t *testing.T) {
	t.Parallel()
	n := newCrashNode(t)
	n.a.Start()
	for _, name := range []string{"a", "b", "gone"} {
		n.add(name, crashPod)
	}
	var uids []string
	boxes := map[string]bool{}
	for _, name := range []string{"a", "b", "gone"} {
		testbed.Eventually(t, crashSoon, name+" runs", func() error { return n.up(name, nil) })
		uids = append(uids, n.uid(name))
		boxes[n.containers()[name][0].PodSandboxId] = true
	}
	n.a.Kill()
	n.csi.Kill()
	n.cd.PowerOff()
	n.a.RemoveManifest("gone.yaml")
	n.cd.Start()
	n.csi.Start()
	n.a.Start()
	for _, name := range []string{"a", "b"} {
		testbed.Eventually(t, crashSoon, name+" runs again", func() error { return n.running(name, 1) })
		for _, c := range n.containers()[name] {
			if c.Metadata.Attempt > 0 && boxes[c.PodSandboxId] {
				t.Errorf("container %s of %s runs in a sandbox of before", c.Metadata.Name, name)
			}
		}
		for _, container := range crashContainers {
			testbed.Eventually(t, crashSoon, "container "+container+" of "+name+" has run twice", func() error {
				if ran := n.ran(name, container); ran != 2 { // one that runs may not have left its line yet
					return fmt.Errorf("it has run %d times", ran)
				}
				return nil
			})
		}
	}
	testbed.Eventually(t, crashSoon, "nothing is left of the pod that is gone, nor of the old sandboxes", func() error {
		return n.nothingLeft(uids[0], uids[1])
	})
	for _, name := range []string{"a", "b"} {
		n.a.RemoveManifest(name + ".yaml")
	}
	testbed.Eventually(t, crashSoon, "nothing is left", func() error { return n.nothingLeft() })
	n.quiet()
}
