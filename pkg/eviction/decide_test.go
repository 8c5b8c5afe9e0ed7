package eviction

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/stats"
)

const mi = 1 << 20

func memory(available int64) observations {
	return observations{memoryAvailable: stats.Amount{Available: available * mi, Capacity: 1000 * mi}}
}

func TestState_Next(t *testing.T) {
	hard := Threshold{Signal: memoryAvailable, Value: quantity("100Mi")}
	reclaim := hard
	reclaim.Reclaim = quantity("50Mi")
	soft := Threshold{Signal: memoryAvailable, Value: Value{Percent: 20}, Soft: true, Grace: 30 * time.Second}
	type look struct {
		at        int // seconds
		available int64
		due       bool
		pressure  bool
	}
	for name, tc := range map[string]struct {
		threshold Threshold
		looks     []look
	}{
		"the line itself is not crossed":             {hard, []look{{0, 100, false, false}}},
		"a hard threshold is due at once":            {hard, []look{{0, 99, true, true}, {10, 99, true, true}}},
		"pressure is held for the transition period": {hard, []look{{0, 99, true, true}, {10, 100, false, true}, {299, 100, false, true}, {300, 100, false, false}}},
		"the period begins anew":                     {hard, []look{{0, 99, true, true}, {200, 99, true, true}, {400, 500, false, true}, {500, 500, false, false}}},
		"a soft one after its grace":                 {soft, []look{{0, 199, false, true}, {20, 199, false, true}, {30, 199, true, true}}},
		"which begins anew when it was not crossed":  {soft, []look{{0, 199, false, true}, {20, 200, false, true}, {30, 199, false, true}, {60, 199, true, true}}},
		"minimum reclaim counts once it is met":      {reclaim, []look{{0, 120, false, false}, {10, 99, true, true}, {20, 149, true, true}, {30, 150, false, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			var s state
			for _, l := range tc.looks {
				var due []Threshold
				var pressure []v1.NodeConditionType
				s, due, pressure = s.next([]Threshold{tc.threshold}, memory(l.available), 5*time.Minute, time.Unix(1000+int64(l.at), 0))
				if diff := cmp.Diff(l, look{l.at, l.available, len(due) == 1, len(pressure) == 1}, cmp.AllowUnexported(look{})); diff != "" {
					t.Errorf("after %d s: %s", l.at, diff)
				}
			}
		})
	}
}

func TestState_WhatIsNotMeasuredIsNotShort(t *testing.T) {
	all, err := Parse(Settings{Hard: map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "imagefs.inodesFree": "5%"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, due, pressure := (state{}).next(all, observe(stats.Node{}), time.Minute, time.Unix(0, 0)); len(due)+len(pressure) > 0 {
		t.Errorf("due %v, pressure %v", due, pressure)
	}
	n := stats.Node{Nodefs: stats.FS{Bytes: stats.Amount{Available: 5, Capacity: 100}}, PIDs: stats.Amount{Available: 1, Capacity: 2}}
	_, due, pressure := (state{}).next(all, observe(n), time.Minute, time.Unix(0, 0))
	if len(due) != 1 || due[0].Signal != nodefsAvailable || !cmp.Equal(pressure, []v1.NodeConditionType{v1.NodeDiskPressure}) {
		t.Errorf("due %v, pressure %v", due, pressure)
	}
}
