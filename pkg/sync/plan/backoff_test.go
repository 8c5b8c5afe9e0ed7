package plan

import (
	"testing"
	"time"
)

func TestCrashWait_DoublesFrom10sToTheNodesLimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		want  []time.Duration // in seconds
	}{
		{"kubelet's own", 0, []time.Duration{0, 10, 20, 40, 80, 160, 300, 300}},
		{"between", time.Minute, []time.Duration{0, 10, 20, 40, 60, 60}},
		{"below the first", 2 * time.Second, []time.Duration{0, 2, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var last time.Duration
			for i, want := range c.want {
				if last = crashWait(last, i > 0, c.limit); last != want*time.Second {
					t.Errorf("wait %d is %s, want %ds", i, last, want)
				}
			}
		})
	}
}
