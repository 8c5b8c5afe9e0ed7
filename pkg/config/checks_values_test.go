package config

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoad_RefusesValuesThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
		want []string
	}{
		"negative": {header + "registryBurst: -1\nimageMinimumGCAge: -1m\nkubeAPIQPS: -5\nshutdownGracePeriod: 0s\npodPidsLimit: -1\noomScoreAdj: -5\n", []string{"--event-burst=-2"}, []string{
			"--event-burst: -2 must not be negative", "c.yaml:3: registryBurst: -1 must not be negative",
			"c.yaml:4: imageMinimumGCAge: -1m0s must not be negative", "c.yaml:5: kubeAPIQPS: -5 must not be negative"}},
		"less than no limit": {header + "podPidsLimit: -2\nnodeStatusMaxImages: -3\n", nil, []string{
			"c.yaml:3: podPidsLimit: -2 is neither -1, which is no limit, nor more", "c.yaml:4: nodeStatusMaxImages: -3 is neither -1, which is no limit, nor more"}},
		"an interval of 0": {header, []string{"--file-check-frequency=0", "--node-status-update-frequency=0s"}, []string{
			"--file-check-frequency: 0s is never: give a duration such as 10s", "--node-status-update-frequency: 0s is never: give a duration such as 10s"}},
		"queries of no logs": {header + "enableSystemLogQuery: true\nenableSystemLogHandler: false\n", nil, []string{
			"c.yaml:3: enableSystemLogQuery: needs enableSystemLogHandler: set both or none"}},
		"a signal": {header + "evictionHard: {memory.avail: 1Gi}\n", []string{"--eviction-soft=disk<10%", "--eviction-soft-grace-period=disk=1m"}, []string{
			"c.yaml:3: evictionHard.memory.avail: unknown signal: memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available can be set",
			"--eviction-soft: disk: unknown signal: memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available can be set"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.file, c.args...)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(err.Error(), "\n")
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoad_ShowsTheThresholdsThatItMergesIn(t *testing.T) {
	l := shown(t, files{"c.yaml": header + "mergeDefaultEvictionSettings: true\nevictionHard: {memory.available: 1Gi}\n"}, "--config=c.yaml")
	text, err := l.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "    memory.available: 1Gi # c.yaml:4\n    nodefs.available: 10% # default\n") {
		t.Errorf("the thresholds that are in force are not shown:\n%s", text)
	}
	if d := cmp.Diff(5, len(l.Config.Eviction.Hard)); d != "" {
		t.Error(d)
	}
}

func TestLoad_TakesZeroEventsASecondAsNoLimit(t *testing.T) {
	cfg, err := load(t, header+"eventRecordQPS: 0\n")
	if err != nil || cfg.API.EventQPS != math.MaxInt32 {
		t.Error(cfg.API.EventQPS, err)
	}
}
