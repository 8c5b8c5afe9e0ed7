package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	kubelet "k8s.io/kubelet/config/v1beta1"
)

// values checks what holds for many fields: numbers and durations are not negative, and what goes on at intervals has one.
func (c *checks) values(kc *kubelet.KubeletConfiguration) {
	d, err := document(kc)
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	mayBeNegative := []string{"podPidsLimit", "nodeStatusMaxImages", "oomScoreAdj", "maxPods"} // checked on their own
	for _, v := range d.Values(kubelet.KubeletConfiguration{}) {
		text := strings.Trim(v.Text, `"`)
		if !strings.HasPrefix(text, "-") || slices.Contains(mayBeNegative, v.Path) {
			continue
		}
		if _, err := time.ParseDuration(text); err == nil || !strings.HasPrefix(v.Text, `"`) {
			c.fail(v.Path, "%s must not be negative", text)
		}
	}
	for field, d := range map[string]time.Duration{
		"fileCheckFrequency": kc.FileCheckFrequency.Duration, "httpCheckFrequency": kc.HTTPCheckFrequency.Duration,
		"nodeStatusUpdateFrequency": kc.NodeStatusUpdateFrequency.Duration, "nodeStatusReportFrequency": kc.NodeStatusReportFrequency.Duration,
		"runtimeRequestTimeout": kc.RuntimeRequestTimeout.Duration,
	} {
		if d == 0 {
			c.fail(field, "0s is never: give a duration such as 10s")
		}
	}
	for field, n := range map[string]int64{"podPidsLimit": *kc.PodPidsLimit, "nodeStatusMaxImages": int64(*kc.NodeStatusMaxImages)} {
		if n < -1 {
			c.fail(field, "%d is neither -1, which is no limit, nor more", n)
		}
	}
	slices.SortStableFunc(c.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
}

// signals are what eviction can be set for.
func signals() []string {
	return []string{"memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "pid.available"}
}

// signals checks the names of thresholds.
func (c *checks) signals(field string, names map[string]string) {
	for _, s := range slices.Sorted(maps.Keys(names)) {
		if !slices.Contains(signals(), s) {
			c.fail(field+"."+s, "unknown signal: %s can be set", strings.Join(signals(), ", "))
		}
	}
}
