package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain lets three of the tests run at once, unless -parallel says otherwise. Alone run those that need much of the machine or
// what it has once: the emulated machine, a cluster of kubeadm's, systemd, hundreds of pods, the node's memory, the own bridge.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "3"); err != nil {
		fmt.Fprintln(os.Stderr, "cannot set how many tests run at once:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
