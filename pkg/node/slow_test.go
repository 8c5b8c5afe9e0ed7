package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPace_TellsSlownessOnceAndItsEndOnce(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for name, c := range map[string]struct {
		answers []time.Duration
		told    []time.Duration // the figure at each news; 0: it is over
		shown   time.Duration   // the figure in the end
	}{
		"quick":                             {answers: []time.Duration{5 * ms, 1900 * ms, 0}},
		"slow all the time":                 {answers: []time.Duration{3 * s, 3 * s, 2900 * ms, 4 * s, 4100 * ms}, told: []time.Duration{3 * s}, shown: 3 * s},
		"slower and slower":                 {answers: []time.Duration{3 * s, 6 * s, 11 * s, 12 * s}, told: []time.Duration{3 * s, 6 * s, 12 * s}, shown: 12 * s},
		"one quick answer is not the end":   {answers: []time.Duration{3 * s, 5 * ms, 3 * s, 5 * ms, 3 * s}, told: []time.Duration{3 * s}, shown: 3 * s},
		"one that is neither is not either": {answers: []time.Duration{3 * s, 5 * ms, 1500 * ms, 5 * ms}, told: []time.Duration{3 * s}, shown: 1500 * ms},
		"to and fro":                        {answers: []time.Duration{18 * s, 9 * s, 18 * s, 9 * s}, told: []time.Duration{18 * s}, shown: 9 * s},
		"over":                              {answers: []time.Duration{12 * s, 5 * ms, 5 * ms, 5 * ms, 1900 * ms}, told: []time.Duration{12 * s, 0}},
		"over, and again":                   {answers: []time.Duration{3 * s, 0, 0, 2 * s}, told: []time.Duration{3 * s, 0, 2 * s}, shown: 2 * s},
	} {
		t.Run(name, func(t *testing.T) {
			var p pace
			var told []time.Duration
			for _, took := range c.answers {
				var news bool
				if p, news = p.next(took); news {
					told = append(told, p.shown)
				}
			}
			if p.shown != c.shown {
				t.Errorf("shows %s in the end, want %s", p.shown, c.shown)
			}
			if d := cmp.Diff(c.told, told); d != "" {
				t.Errorf("told (-want +got):\n%s", d)
			}
		})
	}
}
