package cri

import (
	"testing"
	"time"
)

// moment is an occurrence at a time since the start, what is ordered then, and when the next list is due.
type moment struct {
	at     time.Duration
	o      occurrence
	orders orders
	list   time.Duration
}

func TestFollowing_Next(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	var (
		list    = occurrence{kind: listed}
		changed = occurrence{kind: listed, changed: true}
		told    = occurrence{kind: listed, changed: true, told: true}
		fails   = occurrence{kind: listFailed}
		over    = occurrence{kind: ended}
		nudge   = occurrence{kind: nudged}

		first  = orders{open: true, pokeAll: true, say: isUp}
		open   = orders{open: true}
		closed = orders{say: streamClosed}
		down   = orders{say: isDown}
	)
	for name, moments := range map[string][]moment{
		"lists again after a stream was opened, then rarely once it has told something": {
			{0, list, first, s}, {s, told, orders{}, 61 * s}, {61 * s, told, orders{}, 121 * s}, {121 * s, list, orders{}, 181 * s},
		},
		"lists ever more rarely beside a stream that has nothing to tell": {
			{0, list, first, s}, {s, list, orders{}, 3 * s}, {3 * s, list, orders{}, 7 * s}, {7 * s, list, orders{}, 15 * s},
			{15 * s, list, orders{}, 31 * s}, {31 * s, list, orders{}, 63 * s}, {63 * s, list, orders{}, 123 * s}, {123 * s, list, orders{}, 183 * s},
		},
		"lists each second beside a stream that does not tell of a change, until it tells something": {
			{0, list, first, s}, {s, told, orders{}, 61 * s}, {61 * s, changed, orders{}, 62 * s}, {62 * s, list, orders{}, 63 * s},
			{63 * s, list, orders{}, 64 * s}, {64 * s, told, orders{}, 124 * s},
		},
		"opens a stream after growing pauses while none lasts, and warns once": {
			{0, list, first, s}, {0, over, closed, 0}, {0, list, orders{}, s},
			{s, list, open, 2 * s}, {s, over, orders{say: isWithout}, s}, {s, list, orders{}, 2 * s}, {2 * s, list, orders{}, 3 * s},
			{3 * s, list, open, 4 * s}, {3 * s, over, closed, 3 * s}, {6 * s, list, orders{}, 7 * s},
			{7 * s, list, open, 8 * s}, {7 * s, over, closed, 7 * s}, {14 * s, list, orders{}, 15 * s},
			{15 * s, list, open, 16 * s}, {15 * s, over, closed, 15 * s}, {30 * s, list, orders{}, 31 * s},
			{31 * s, list, open, 32 * s}, {31 * s, over, closed, 31 * s}, {62 * s, list, orders{}, 63 * s},
			{63 * s, list, open, 64 * s}, {63 * s, over, closed, 63 * s}, {122 * s, list, orders{}, 123 * s},
			{123 * s, list, open, 124 * s}, {124 * s, over, closed, 124 * s}, {183 * s, list, orders{}, 184 * s}, {184 * s, list, open, 185 * s},
		},
		"opens one at once after one that lasted": {
			{0, list, first, s}, {0, over, closed, 0}, {s, list, open, 2 * s}, {s, over, orders{say: isWithout}, s},
			{3 * s, list, open, 4 * s}, {4 * s, told, orders{}, 64 * s}, {64 * s, list, orders{say: isWith}, 124 * s},
			{100 * s, over, closed, 100 * s}, {100 * s, list, open, 101 * s},
		},
		"opens one at once when the runtime is back, which may be another version": {
			{0, list, first, s}, {0, over, closed, 0}, {s, list, open, 2 * s}, {s, over, orders{say: isWithout}, s}, {s, fails, down, s + 100*ms},
			{s + 100*ms, fails, orders{}, s + 300*ms}, {s + 300*ms, list, first, 2*s + 300*ms},
		},
		"pauses up to 5 s while the runtime does not answer, and warns once": {
			{0, fails, down, 100 * ms}, {100 * ms, fails, orders{}, 300 * ms}, {300 * ms, fails, orders{}, 700 * ms}, {700 * ms, fails, orders{}, 1500 * ms},
			{1500 * ms, fails, orders{}, 3100 * ms}, {3100 * ms, fails, orders{}, 6300 * ms}, {6300 * ms, fails, orders{}, 11300 * ms}, {11300 * ms, fails, orders{}, 16300 * ms},
		},
		"goes on with growing pauses when the runtime answers but now and then": {
			{0, fails, down, 100 * ms}, {100 * ms, list, first, 1100 * ms}, {1100 * ms, fails, down, 1300 * ms},
			{1300 * ms, list, orders{pokeAll: true, say: isUp}, 3300 * ms}, {3300 * ms, fails, down, 3700 * ms}, {3700 * ms, list, orders{pokeAll: true, say: isUp}, 7700 * ms},
			{70 * s, fails, down, 70*s + 100*ms},
		},
		"lists soon for an event without a pod, not for each of many": {
			{0, list, first, s}, {10 * ms, nudge, orders{}, 100 * ms}, {20 * ms, nudge, orders{}, 100 * ms}, {100 * ms, told, orders{}, 60*s + 100*ms},
			{10 * s, nudge, orders{}, 200 * ms}, {10 * s, fails, down, 10*s + 100*ms}, {10*s + 1*ms, nudge, orders{}, 10*s + 100*ms},
		},
		"keeps its pause when the stream ends while the runtime does not answer": {
			{0, list, first, s}, {s, fails, down, s + 100*ms}, {s + 50*ms, over, closed, s + 100*ms},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var f following
			start := time.Now()
			for i, m := range moments {
				var got orders
				f, got = f.next(m.o, start.Add(m.at))
				if got != m.orders {
					t.Errorf("moment %d, at %s: orders %+v, want %+v", i, m.at, got, m.orders)
				}
				if list := f.listAt.Sub(start); list != m.list {
					t.Errorf("moment %d, at %s: the next list is at %s, want %s", i, m.at, list, m.list)
				}
			}
		})
	}
}
