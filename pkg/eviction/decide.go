package eviction

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/stats"
)

// observations are what is left of what the node has, by signal. A signal that could not be measured is missing.
type observations map[Signal]stats.Amount

func observe(n stats.Node) observations {
	all := observations{
		memoryAvailable: n.Memory, nodefsAvailable: n.Nodefs.Bytes, nodefsInodesFree: n.Nodefs.Inodes,
		imagefsAvailable: n.Imagefs.Bytes, imagefsInodesFree: n.Imagefs.Inodes, pidAvailable: n.PIDs,
	}
	// A capacity of zero was not measured, or is a file system without a fixed number of inodes.
	maps.DeleteFunc(all, func(_ Signal, a stats.Amount) bool { return a.Capacity == 0 })
	return all
}

// crossed reports whether less is available than a threshold asks for; with reclaim, than is needed to be clear of it.
func (t Threshold) crossed(o observations, reclaim bool) bool {
	seen, ok := o[t.Signal]
	if !ok {
		return false
	}
	line := t.Value.of(seen.Capacity)
	if reclaim {
		line.Add(t.Reclaim.of(seen.Capacity))
	}
	return line.CmpInt64(seen.Available) > 0
}

// state is what is remembered from one look at the node to the next. Thresholds are known by their index.
type state struct {
	since     map[int]time.Time                  // thresholds that are crossed: since when
	due       map[int]bool                       // those that pods were to be evicted for at the last look
	pressured map[v1.NodeConditionType]time.Time // when each condition was observed last
}

// next looks at the node once more. It returns the new state, the thresholds that something must be done about now, and
// the conditions of the node.
func (s state) next(thresholds []Threshold, o observations, transition time.Duration, now time.Time) (state, []Threshold, []v1.NodeConditionType) {
	n := state{since: map[int]time.Time{}, due: map[int]bool{}, pressured: maps.Clone(s.pressured)}
	if n.pressured == nil {
		n.pressured = map[v1.NodeConditionType]time.Time{}
	}
	var due []Threshold
	for i, t := range thresholds {
		if !t.crossed(o, s.due[i]) {
			continue
		}
		n.since[i] = now
		if first, ok := s.since[i]; ok {
			n.since[i] = first
		}
		info, _ := t.Signal.info()
		n.pressured[info.condition] = now
		if now.Sub(n.since[i]) >= t.Grace {
			n.due[i] = true
			due = append(due, t)
		}
	}
	maps.DeleteFunc(n.pressured, func(_ v1.NodeConditionType, last time.Time) bool { return now.Sub(last) >= transition && last != now })
	return n, due, slices.Sorted(maps.Keys(n.pressured))
}

// near reports whether memory is so short that the next look should be soon: less than twice what a threshold asks for.
func near(thresholds []Threshold, o observations) bool {
	return slices.ContainsFunc(thresholds, func(t Threshold) bool {
		seen, ok := o[t.Signal]
		line := t.Value.of(seen.Capacity)
		return ok && t.Signal == memoryAvailable && seen.Available < 2*line.Value()
	})
}
