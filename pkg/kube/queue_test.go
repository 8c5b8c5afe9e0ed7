package kube

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFirst_TakesTheMostUrgentOfWhatIsDue(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, tt := range map[string]struct {
		waiting map[string]Write
		doing   map[string]bool
		crowded bool
		key     string
		wait    time.Duration
	}{
		"nothing waits": {wait: time.Hour},
		"a change before a warning that waits for longer": {
			waiting: map[string]Write{"a": {Urgency: Trouble, At: ago(time.Minute)}, "b": {Urgency: Change, At: now}}, key: "b",
		},
		"the older of two changes":  {waiting: map[string]Write{"a": {At: ago(time.Second)}, "b": {At: ago(time.Minute)}}, key: "b"},
		"not what is due later":     {waiting: map[string]Write{"a": {At: now.Add(time.Second)}, "b": {Urgency: Progress, At: now}}, key: "b"},
		"how long nothing is due":   {waiting: map[string]Write{"a": {At: now.Add(time.Minute)}, "b": {At: now.Add(time.Second)}}, wait: time.Second},
		"one at a time of each key": {waiting: map[string]Write{"a": {At: now}}, doing: map[string]bool{"a": true}, wait: time.Hour},
		"progress gives way to a crowd": {
			waiting: map[string]Write{"a": {Urgency: Progress, At: now, Held: 9 * time.Second}}, crowded: true, wait: 9 * time.Second,
		},
		"for as long as it is held": {
			waiting: map[string]Write{"a": {Urgency: Progress, At: ago(9 * time.Second), Held: 9 * time.Second}}, crowded: true, key: "a",
		},
		"a refresh does not": {waiting: map[string]Write{"a": {Urgency: Refresh, At: now, Held: time.Minute}}, crowded: true, key: "a"},
	} {
		key, wait := first(tt.waiting, tt.doing, tt.crowded, now)
		if key != tt.key || wait != tt.wait {
			t.Errorf("%s: %q in %s, want %q in %s", name, key, wait, tt.key, tt.wait)
		}
	}
}

func TestQueue_DoesAFewWritesAtOnceTheUrgentOnesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var did []string
		crowd := make(chan struct{})
		q := NewQueue(func() <-chan struct{} { mu.Lock(); defer mu.Unlock(); return crowd })
		put := func(key string, u Urgency) {
			q.Put(key, Write{Urgency: u, At: time.Now(), Held: time.Hour, Do: func(context.Context) {
				mu.Lock()
				did = append(did, key)
				mu.Unlock()
				time.Sleep(time.Second)
			}})
		}
		take := func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			out := did
			did = nil
			slices.Sort(out)
			return out
		}
		for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			put(k, Refresh)
		}
		put("later", Trouble)
		put("progress", Progress)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { q.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		if got := take(); len(got) != 8 || !slices.Contains(got, "later") || slices.Contains(got, "progress") {
			t.Errorf("done at once: %v, want eight with the most urgent among them", got)
		}
		put("a", Change) // the same again, while it may be under way
		time.Sleep(1500 * time.Millisecond)
		second := take()
		if !slices.Contains(second, "a") || slices.Contains(second, "progress") {
			t.Errorf("done after a second: %v, want a again and no progress", second)
		}
		mu.Lock()
		close(crowd)
		crowd = nil
		mu.Unlock()
		if got := take(); !slices.Equal(got, []string{"progress"}) {
			t.Errorf("done when the crowd was gone: %v", got)
		}
	})
}
