package eviction

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Signal is something that the node can run out of, as evictionHard names it.
type Signal string

// The signals that thresholds may be set for.
const (
	memoryAvailable   Signal = "memory.available"
	nodefsAvailable   Signal = "nodefs.available"
	nodefsInodesFree  Signal = "nodefs.inodesFree"
	imagefsAvailable  Signal = "imagefs.available"
	imagefsInodesFree Signal = "imagefs.inodesFree"
	pidAvailable      Signal = "pid.available"
)

// signalInfo is what a signal stands for.
type signalInfo struct {
	resource  v1.ResourceName // as messages name it
	condition v1.NodeConditionType
}

func (s Signal) info() (signalInfo, bool) {
	switch s {
	case memoryAvailable:
		return signalInfo{v1.ResourceMemory, v1.NodeMemoryPressure}, true
	case nodefsAvailable, imagefsAvailable:
		return signalInfo{v1.ResourceEphemeralStorage, v1.NodeDiskPressure}, true
	case nodefsInodesFree, imagefsInodesFree:
		return signalInfo{"inodes", v1.NodeDiskPressure}, true
	case pidAvailable:
		return signalInfo{"pids", v1.NodePIDPressure}, true
	}
	return signalInfo{}, false
}

// Value is an amount, or a part of the capacity.
type Value struct {
	Quantity *resource.Quantity
	Percent  float64 // used when Quantity is nil
}

// of is the value for a capacity.
func (v Value) of(capacity int64) resource.Quantity {
	if v.Quantity != nil {
		return *v.Quantity
	}
	return *resource.NewQuantity(int64(float64(capacity)*v.Percent/100), resource.BinarySI)
}

// Threshold is a line that, when what is available falls below it, makes pods be evicted.
type Threshold struct {
	Signal  Signal
	Value   Value
	Soft    bool
	Grace   time.Duration // Soft: how long the line must have been crossed
	Reclaim Value         // how much beyond the line must be free again before the pressure is over
}

// ofDisk reports whether the threshold is of a file system.
func (t Threshold) ofDisk() bool {
	info, _ := t.Signal.info()
	return info.condition == v1.NodeDiskPressure
}

// Settings are the fields of KubeletConfiguration that thresholds are made of, by signal.
type Settings struct {
	Hard, Soft, SoftGracePeriod, MinimumReclaim map[string]string
}

// Parse makes thresholds of settings: memory first, then by name, hard before soft. A threshold of 0% or 100% is one
// that is switched off.
func Parse(s Settings) ([]Threshold, error) {
	var all []Threshold
	for _, set := range []struct {
		field  string
		values map[string]string
		soft   bool
	}{{"evictionHard", s.Hard, false}, {"evictionSoft", s.Soft, true}} {
		for _, signal := range slices.Sorted(maps.Keys(set.values)) {
			t, err := parseOne(s, set.field, signal, set.values[signal], set.soft)
			if err != nil {
				return nil, err
			}
			if t != nil {
				all = append(all, *t)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Threshold) int { return order(a) - order(b) })
	return all, nil
}

// order puts memory before all else: a node without it does nothing else either.
func order(t Threshold) int {
	if t.Signal == memoryAvailable {
		return 0
	}
	return 1
}

func parseOne(s Settings, field, signal, text string, soft bool) (*Threshold, error) {
	t := Threshold{Signal: Signal(signal), Soft: soft}
	if _, known := t.Signal.info(); !known {
		return nil, fmt.Errorf("%s: eviction signal %q is not supported: remove it", field, signal)
	}
	if text == "0%" || text == "100%" {
		return nil, nil
	}
	var err error
	if t.Value, err = parseValue(text); err != nil {
		return nil, fmt.Errorf("%s[%s]: %w", field, signal, err)
	}
	if reclaim, ok := s.MinimumReclaim[signal]; ok {
		if t.Reclaim, err = parseValue(reclaim); err != nil {
			return nil, fmt.Errorf("evictionMinimumReclaim[%s]: %w", signal, err)
		}
	}
	if soft {
		grace, ok := s.SoftGracePeriod[signal]
		if !ok {
			return nil, fmt.Errorf("evictionSoft[%s] needs a period in evictionSoftGracePeriod", signal)
		}
		if t.Grace, err = time.ParseDuration(grace); err != nil || t.Grace < 0 {
			return nil, fmt.Errorf("evictionSoftGracePeriod[%s]: %q must be a duration such as 1m30s", signal, grace)
		}
	}
	return &t, nil
}

func parseValue(text string) (Value, error) {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || percent < 0 || percent > 100 {
			return Value{}, fmt.Errorf("%q must be a percentage from 0%% to 100%%", text)
		}
		return Value{Percent: percent}, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 {
		return Value{}, fmt.Errorf("%q must be a quantity such as 100Mi or a percentage such as 10%%", text)
	}
	return Value{Quantity: &q}, nil
}
