package testbed

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PowerOff does to the node's pods what a power cut does: containerd, its shims and every container end at once, what is
// mounted is gone with network namespaces, cgroups, and containerd's state directory, which is on a tmpfs of a real
// node. Roots, journals and leased addresses stay. Kill the agent first; Start containerd and the agent afterwards.
func (d *Containerd) PowerOff() {
	d.e.t.Helper()
	d.Kill()
	for _, p := range d.e.procs { // the harness's own, such as a CSI driver, go on
		if p.Running() && strings.HasPrefix(p.Name, "agent") {
			d.e.t.Fatalf("the agent still runs: kill it before the power goes")
		}
	}
	Eventually(d.e.t, 10*time.Second, "shims and containers have ended", func() error {
		running := 0
		for _, pid := range d.e.pids() {
			if d.e.started(pid) {
				continue
			}
			running++
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if running > 0 {
			return errors.New("some still run")
		}
		return nil
	})
	if err := errors.Join(d.e.unmountAll(), d.e.removeCgroups(), os.RemoveAll(d.State)); err != nil {
		d.e.t.Fatalf("cannot cut the power: %v", err)
	}
}

// started reports whether the harness itself started a process.
func (e *Env) started(pid int) bool {
	for _, p := range e.procs {
		if p.Running() && p.Pid() == pid {
			return true
		}
	}
	return false
}

// RecordFile is the agent's record of a pod.
func (a *Agent) RecordFile(uid string) string {
	return filepath.Join(a.RootDir, "minikubelet", "records", uid+".json")
}
