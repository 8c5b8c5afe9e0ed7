package testbed_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// victim, in the environment, makes this program the one that is killed.
const victim = "TESTBED_VICTIM"

func TestNew_SweepsWhatAKilledTestLeft(t *testing.T) {
	if os.Getenv(victim) != "" {
		e := testbed.New(t)
		runWeb(t, e, e.Containerd(testbed.ContainerdConfig{}), e.Port())
		fmt.Printf("ready in %s\n", e.Dir)
		select {} // until it is killed
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestNew_SweepsWhatAKilledTestLeft$")
	cmd.Env = append(os.Environ(), victim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir := ""
	for s := bufio.NewScanner(out); s.Scan(); {
		if after, ok := strings.CutPrefix(s.Text(), "ready in "); ok {
			dir = after
			break
		}
		t.Log(s.Text())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := os.Stat(dir); dir == "" || err != nil {
		t.Fatalf("the victim left nothing to sweep: %q, %v", dir, err)
	}
	e := testbed.New(t)
	victims := &testbed.Env{Dir: dir}
	if _, err := fmt.Sscanf(dir, "/tmp/minikubelet-e2e/%d", &victims.N); err != nil {
		t.Fatal(err)
	}
	if victims.N == e.N {
		return // its place is ours now: New would have failed to make the bridge, had it not been swept
	}
	assertGone(t, victims)
}
