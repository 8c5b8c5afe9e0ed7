package testbed

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is a figure of the agent's /proc/PID/status in KiB, such as VmRSS.
func (a *Agent) Memory(name string) int {
	a.e.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.proc.Pid()))
	if err != nil {
		a.e.t.Fatalf("cannot measure the agent: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == name+":" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				a.e.t.Fatalf("cannot measure the agent: %v", err)
			}
			return n
		}
	}
	a.e.t.Fatalf("no %s in\n%s", name, b)
	return 0
}

// ForgetPeak begins the peak of the agent's memory, VmHWM, anew.
func (a *Agent) ForgetPeak() {
	a.e.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.proc.Pid()), []byte("5"), 0); err != nil {
		a.e.t.Fatalf("cannot measure the agent: %v", err)
	}
}
