package main

import (
	"testing"

	"github.com/minikubelet/minikubelet/pkg/config"
)

func TestSwapDevice_IsTheFirstInTheList(t *testing.T) {
	const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for swaps, want := range map[string]string{
		"": "", heading: "", heading + "/dev/zram0                              partition\t1048572\t\t0\t\t100\n": "/dev/zram0",
		heading + "/swapfile\tfile\t1\t0\t-2\n/dev/sda2 partition\t1\t0\t-3\n": "/swapfile",
	} {
		if got := swapDevice(swaps); got != want {
			t.Errorf("%q: %q, want %q", swaps, got, want)
		}
	}
}

func TestMaxPods_IsBoundByTheCores(t *testing.T) {
	for _, c := range []struct{ max, perCore, want int }{{110, 0, 110}, {110, 10, 40}, {30, 10, 30}} {
		if got := maxPods(config.Node{MaxPods: c.max, PodsPerCore: c.perCore}, 4); got != int64(c.want) {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
