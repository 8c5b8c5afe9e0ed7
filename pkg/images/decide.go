package images

import (
	"cmp"
	"slices"
	"time"
)

// GCLimits say when images that nothing uses are removed.
type GCLimits struct {
	High   int           // percentage of the file system in use at which removing begins; 100: never
	Low    int           // percentage down to which it goes
	MinAge time.Duration // an image that the agent has known for less time stays
	MaxAge time.Duration // an image that was not used for longer goes, whatever the disk; 0: no such limit
}

// candidate is an image as the decision sees it.
type candidate struct {
	id    string
	name  string // for people
	size  int64  // bytes
	kept  bool   // in use, or pinned
	first time.Time
	used  time.Time // zero: never since the agent knows it
}

func (c candidate) idle() time.Time {
	if c.used.After(c.first) {
		return c.used
	}
	return c.first
}

// disk is a file system, in bytes.
type disk struct{ capacity, available int64 }

// excess is how many bytes must be freed to come down to the low limit, once the high one is reached.
func (l GCLimits) excess(d disk) int64 {
	if d.capacity <= 0 || l.High >= 100 {
		return 0
	}
	used := 100 - int(float64(d.available)*100/float64(d.capacity))
	if used < l.High {
		return 0
	}
	return max(d.capacity*int64(100-l.Low)/100-d.available, 0)
}

// removable are the images that may go now, least recently used first, then the ones known longest.
func (l GCLimits) removable(all []candidate, now time.Time) []candidate {
	var out []candidate
	for _, c := range all {
		if !c.kept && now.Sub(c.first) >= l.MinAge {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		return cmp.Or(a.used.Compare(b.used), a.first.Compare(b.first), cmp.Compare(a.name, b.name))
	})
	return out
}

// old are those of the removable images that were not used for longer than the maximum age, and the others.
func (l GCLimits) old(removable []candidate, now time.Time) (old, rest []candidate) {
	for _, c := range removable {
		if l.MaxAge > 0 && now.Sub(c.idle()) > l.MaxAge {
			old = append(old, c)
		} else {
			rest = append(rest, c)
		}
	}
	return old, rest
}
