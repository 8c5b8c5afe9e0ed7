package testbed

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// removeHostPorts deletes the chains that the portmap plugin made for pods of this Env and that nobody took back: they
// would send a later test's port into nothing.
func (e *Env) removeHostPorts() error {
	saved, err := runOut("iptables-save", "-t", "nat")
	if err != nil {
		return err
	}
	script := removalScript(saved, fmt.Sprintf("10.241.%d.", e.N))
	if script == "" {
		return nil
	}
	cmd := exec.CommandContext(context.Background(), "iptables-restore", "--noflush", "--wait", "5")
	cmd.Stdin = strings.NewReader(script)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot remove host ports: %w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return nil
}

// removalScript is iptables-restore's input that removes the CNI plugins' own chains with a rule on addresses that begin
// with prefix, and the rules that jump to them.
func removalScript(saved, prefix string) string {
	doomed := map[string]bool{}
	for line := range strings.Lines(saved) {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == "-A" && strings.HasPrefix(f[1], "CNI-") && !strings.HasPrefix(f[1], "CNI-HOSTPORT") && strings.Contains(line, " "+prefix) {
			doomed[f[1]] = true
		}
	}
	if len(doomed) == 0 {
		return ""
	}
	var jumps, chains strings.Builder
	for line := range strings.Lines(saved) {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == "-A" && !doomed[f[1]] && f[len(f)-2] == "-j" && doomed[f[len(f)-1]] {
			jumps.WriteString("-D" + strings.TrimPrefix(line, "-A"))
		}
	}
	for chain := range doomed {
		chains.WriteString("-F " + chain + "\n-X " + chain + "\n")
	}
	return "*nat\n" + jumps.String() + chains.String() + "COMMIT\n"
}
