package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// crashWrapper runs a program of the runtime and kills the agent at a moment that a file names: <command>.<edge> holds
// how often it must be met. The command is one of runc's, or CNI's. It goes on when the agent is gone and the runtime has
// had the time to see that, however slow the machine: what happens next is then the same each time.
const crashWrapper = `#!/bin/sh
meet() {
  for word in $CNI_COMMAND $words; do
    case $word in */*) continue;; esac
    file=DIR/$word.$1
    [ -e "$file" ] || continue
    read -r n < "$file"
    if [ "$n" -gt 1 ]; then echo $((n-1)) > "$file"; continue; fi
    rm "$file"
    read -r pid < DIR/pid
    kill -9 "$pid"
    while read -r _ _ state _ < "/proc/$pid/stat" && [ "$state" != Z ]; do sleep 0.01; done
    sleep 0.2
  done
}
words="$*"
meet before
REAL "$@"
code=$?
meet after
exit $code
`

// TestCrash_InsideTheRuntimesCalls kills the agent while the runtime works for it: while runc makes, starts, kills or
// deletes a container, and while the bridge plugin attaches or detaches a sandbox. The runtime sees its caller vanish,
// cancels what it can, and leaves what it leaves; the agent makes it good.
func TestCrash_InsideTheRuntimesCalls(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2.4", "1.6"} {
		t.Run("containerd "+version, func(t *testing.T) {
			t.Parallel()
			e := testbed.New(t)
			dir := e.Path("moments")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			real := testbed.Tool(t, "runc")
			if version == "1.6" {
				real = "/usr/sbin/runc"
			}
			wrap := func(path, real string) string {
				text := strings.NewReplacer("DIR", dir, "REAL", real).Replace(crashWrapper)
				if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte(text), 0o755)); err != nil {
					t.Fatal(err)
				}
				return path
			}
			cd := e.Containerd(testbed.ContainerdConfig{Version: version, Runc: wrap(filepath.Join(dir, "runc"), real)})
			bridge := filepath.Join(cd.BinDir, "bridge")
			real, err := os.Readlink(bridge)
			if err != nil {
				t.Fatal(err)
			}
			wrap(bridge, real)
			n := newCrashNodeOn(t, e, cd)
			ups := []string{"create.before.1", "create.after.1", "start.before.1", "start.after.1", "create.before.2", "create.after.3", "start.before.4", "start.after.5", "ADD.before.1", "ADD.after.1"}
			downs := []string{"kill.before.1", "kill.after.1", "delete.before.1", "delete.after.1", "kill.before.3", "kill.after.4", "delete.before.3", "delete.after.4", "DEL.before.1", "DEL.after.1"}
			for i, up := range ups {
				n.inside(fmt.Sprintf("p%d", i), up, downs[i], dir)
			}
			n.quiet()
		})
	}
}

// inside brings one pod up over a death of the agent, and takes it down over another.
func (n *crashNode) inside(name, up, down, dir string) {
	n.t.Helper()
	die := func(at string, meanwhile func()) {
		n.a.Launch()
		command, rest, _ := strings.Cut(at, ".")
		edge, times, _ := strings.Cut(rest, ".")
		err := os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(n.a.Process().Pid())), 0o600)
		if err = errors.Join(err, os.WriteFile(filepath.Join(dir, command+"."+edge), []byte(times+"\n"), 0o600)); err != nil {
			n.t.Fatal(err)
		}
		meanwhile()
		if code := n.a.Process().Wait(crashSoon); code != -1 {
			n.t.Fatalf("the agent ended with code %d before %s", code, at)
		}
	}
	die(up, func() { n.add(name, crashPod) })
	n.a.Start()
	restarts := int32(1)
	if strings.HasPrefix(up, "create.") {
		restarts = 0 // what was cut off so early never ran
	}
	testbed.Eventually(n.t, crashSoon, "the pod runs after "+up, func() error { return n.settled(name, restarts) })
	n.a.Kill()
	die(down, func() { n.a.RemoveManifest(name + ".yaml") })
	n.a.Start()
	testbed.Eventually(n.t, crashSoon, "nothing is left after "+down, func() error { return n.nothingLeft() })
	n.a.Kill()
}

// settled is up for a pod one of whose containers may have been cut off while it started: when it had a process by then, the
// runtime counts that as a run that failed, and it is started again.
func (n *crashNode) settled(name string, most int32) error {
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
	restarts, counted := int32(0), map[string]int{}
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, s := range list {
			counted[s.Name] = int(s.RestartCount)
			if restarts += s.RestartCount; !s.Ready {
				return fmt.Errorf("not ready: %s", stateText(list))
			}
		}
	}
	if restarts > most {
		n.t.Errorf("%s: %d restarts, want at most %d", name, restarts, most)
	}
	for _, container := range crashContainers {
		switch ran := n.ran(name, container); {
		case ran == 0:
			return fmt.Errorf("container %s has not left its line", container)
		case ran > 1+counted[container]:
			n.t.Errorf("container %s of %s has run %d times, and counts %d restarts", container, name, ran, counted[container])
		}
	}
	if !podReady(p) {
		return errors.New("not ready")
	}
	return nil
}
