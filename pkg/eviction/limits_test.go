package eviction

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/stats"
)

// New limits hold from the next look on, and a soft threshold counts from then.
func TestGuard_TakesUpLimitsWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{node: short(), pods: []*v1.Pod{aPod("a", 0)}, used: map[types.UID]stats.Pod{"a": {WorkingSet: 10}}}
		g := m.start(t, func(c *Config) { c.Thresholds = nil })
		m.expect(t, 25*time.Second)
		g.SetLimits(Limits{
			Thresholds: []Threshold{{Signal: memoryAvailable, Value: quantity("100Mi"), Soft: true, Grace: 20 * time.Second}}, MaxPodGrace: 5 * time.Second,
		})
		m.expect(t, 49*time.Second)
		m.expect(t, 51*time.Second, "50s evict a Evicted 5s eviction")
		if d := cmp.Diff([]v1.NodeConditionType{v1.NodeMemoryPressure}, g.Pressure()); d != "" {
			t.Error(d)
		}
	})
}
