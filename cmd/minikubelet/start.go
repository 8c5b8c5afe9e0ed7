package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
)

// checkSwap refuses a node with swap on when failSwapOn says so.
func checkSwap(fail bool) error {
	if !fail {
		return nil
	}
	data, err := os.ReadFile("/proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without swap
	}
	if err != nil {
		return fmt.Errorf("cannot tell whether swap is on: %w", err)
	}
	if device := swapDevice(string(data)); device != "" {
		return fmt.Errorf("swap is on (%s): turn it off, or set failSwapOn to false (--fail-swap-on=false)", device)
	}
	return nil
}

// swapDevice is the first device in /proc/swaps, whose first line is a heading; "" when there is none.
func swapDevice(swaps string) string {
	lines := strings.Split(strings.TrimSpace(swaps), "\n")
	if len(lines) < 2 {
		return ""
	}
	device, _, _ := strings.Cut(lines[1], " ")
	device, _, _ = strings.Cut(device, "\t")
	return device
}

// setOOMScore makes the agent one of the last that the kernel kills. Lowering the score takes CAP_SYS_RESOURCE; without it the
// agent works all the same.
func setOOMScore(score int) {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0o600); err != nil {
		slog.Warn("cannot set the agent's oom_score_adj: the kernel may kill it earlier when memory is short", "oomScoreAdj", score, "err", err)
	}
}
