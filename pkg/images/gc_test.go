package images

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

func TestGCLimits_ExcessIsWhatBringsTheDiskDownToTheLowLimit(t *testing.T) {
	for name, c := range map[string]struct {
		high, low int
		disk      disk
		want      int64
	}{
		"below the high limit":          {85, 80, disk{1000, 160}, 0},
		"at the high limit":             {85, 80, disk{1000, 150}, 50},
		"full":                          {85, 80, disk{1000, 0}, 200},
		"a part of a per cent is used":  {85, 80, disk{1000, 159}, 41},
		"100 never removes":             {100, 80, disk{1000, 0}, 0},
		"what cannot be measured":       {85, 80, disk{}, 0},
		"0 removes all that may go":     {1, 0, disk{1000, 900}, 100},
		"a high limit of 0 is met, too": {0, 0, disk{1000, 1000}, 0},
	} {
		if got := (GCLimits{High: c.high, Low: c.low}).excess(c.disk); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// shelf is a runtime with images alone.
type shelf struct {
	images  []cri.Image
	removed []string
	stuck   string // ID of an image that cannot be removed
}

func (s *shelf) ListImages(context.Context) ([]cri.Image, error) { return slices.Clone(s.images), nil }

func (s *shelf) RemoveImage(_ context.Context, id string) error {
	if id == s.stuck {
		return errors.New("in use")
	}
	s.removed = append(s.removed, id)
	s.images = slices.DeleteFunc(s.images, func(i cri.Image) bool { return i.ID == id })
	return nil
}

func (s *shelf) take() []string {
	out := s.removed
	s.removed = nil
	return out
}

// nodeFacts is what the collector is told of the node.
type nodeFacts struct {
	used   []string
	disk   disk
	events []string
}

func collector(s *shelf, n *nodeFacts, l GCLimits) *Collector {
	return NewCollector(GCConfig{
		Store: s, Limits: l, InUse: func(context.Context) ([]string, error) { return n.used, nil },
		Disk:  func(context.Context) (int64, int64, error) { return n.disk.capacity, n.disk.available, nil },
		Event: func(_, reason, message string) { n.events = append(n.events, reason+": "+message) }, Log: slog.New(slog.DiscardHandler),
	})
}

func TestCollector_RemovesTheLeastRecentlyUsedUntilTheDiskIsDown(t *testing.T) {
	s := &shelf{images: []cri.Image{
		{ID: "used", Tags: []string{"docker.io/library/used:1"}, Size: 100}, {ID: "pinned", Pinned: true, Size: 100},
		{ID: "once", Tags: []string{"reg/once:1"}, Size: 100}, {ID: "a", Size: 100}, {ID: "b", Size: 100}, {ID: "c", Size: 100},
	}, stuck: "a"}
	n := &nodeFacts{used: []string{"used:1", "reg/once:1"}, disk: disk{1000, 500}}
	c := collector(s, n, GCLimits{High: 85, Low: 70, MinAge: time.Minute})
	now := time.Now()
	pass := func(after time.Duration) error {
		now = now.Add(after)
		return c.pass(t.Context(), now)
	}
	if err := pass(0); err != nil || s.take() != nil {
		t.Fatal("the disk is not full: ", err)
	}
	n.used, n.disk.available = []string{"used:1"}, 100 // 200 bytes too much
	if err := pass(30 * time.Second); err != nil || s.take() != nil {
		t.Fatal("images are younger than the minimum age: ", err)
	}
	if err := pass(time.Minute); err == nil { // of a that is stuck
		t.Error("an image could not be removed, and there is no error")
	}
	if d := cmp.Diff([]string{"b", "c"}, s.take()); d != "" {
		t.Error(d)
	}
	n.events = nil
	s.stuck = ""
	if err := pass(time.Minute); err != nil { // still full, as the test does not give the space back
		t.Error(err)
	}
	if d := cmp.Diff([]string{"a", "once"}, s.take()); d != "" {
		t.Error(d)
	}
	n.disk.available = 0
	if err := pass(time.Minute); err != nil || s.take() != nil {
		t.Error("what is in use or pinned went: ", err)
	}
	want := []string{"FreeDiskSpaceFailed: Failed to garbage collect required amount of images. Attempted to free 300 bytes, but only found 0 bytes eligible to free."}
	if d := cmp.Diff(want, n.events); d != "" {
		t.Error(d)
	}
}

func TestCollector_RemovesImagesThatWereNotUsedForTooLong(t *testing.T) {
	s := &shelf{images: []cri.Image{{ID: "old", Tags: []string{"reg/old:1"}}, {ID: "unused"}}}
	n := &nodeFacts{used: []string{"reg/old:1"}, disk: disk{1000, 900}}
	c := collector(s, n, GCLimits{High: 85, Low: 80, MaxAge: time.Hour})
	var counted []string
	c.cfg.Removed = func(why string) { counted = append(counted, why) }
	now := time.Now()
	for _, p := range []struct {
		after time.Duration
		used  []string
		want  []string
	}{
		{0, []string{"reg/old:1"}, nil},
		{59 * time.Minute, []string{"reg/old:1"}, nil},
		{2 * time.Minute, nil, []string{"unused"}},
		{57 * time.Minute, nil, nil},
		{2 * time.Minute, nil, []string{"old"}},
	} {
		now, n.used = now.Add(p.after), p.used
		if err := c.pass(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p.want, s.take()); d != "" {
			t.Errorf("after %s: %s", p.after, d)
		}
	}
	s.images = []cri.Image{{ID: "new"}}
	if err := c.Reclaim(t.Context()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"age", "age", "space"}, counted); d != "" {
		t.Error(d)
	}
}

func TestCollector_ReclaimsAllThatMayGoWhateverTheDisk(t *testing.T) {
	s := &shelf{images: []cri.Image{{ID: "used"}, {ID: "a"}, {ID: "b"}}}
	c := collector(s, &nodeFacts{used: []string{"used"}, disk: disk{1000, 1000}}, GCLimits{High: 85, Low: 80})
	if err := c.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a", "b"}, s.take()); d != "" {
		t.Error(d)
	}
}

// Nothing may go when it is not known what is in use.
func TestCollector_RemovesNothingBlindly(t *testing.T) {
	s := &shelf{images: []cri.Image{{ID: "a"}}}
	c := collector(s, &nodeFacts{}, GCLimits{})
	c.cfg.InUse = func(context.Context) ([]string, error) { return nil, errors.New("the runtime is away") }
	if err := errors.Join(c.pass(t.Context(), time.Now()), c.Reclaim(t.Context())); err == nil || s.removed != nil {
		t.Errorf("removed %v, error %v", s.removed, err)
	}
}

func TestCollector_LooksAtOnceWhenItsLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{images: []cri.Image{{ID: "a", Size: 10}}}
		c := collector(s, &nodeFacts{disk: disk{1000, 500}}, GCLimits{High: 85, Low: 80})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		synctest.Wait()
		if s.removed != nil {
			t.Error("removed without need")
		}
		c.Set(GCLimits{High: 10, Low: 5})
		synctest.Wait()
		if d := cmp.Diff([]string{"a"}, s.take()); d != "" {
			t.Error(d)
		}
		cancel()
		<-done
	})
}

// What is remembered of an image that is gone would outlive it, and hold for another that comes by itself.
func TestCollector_TellsWhichImagesAreThere(t *testing.T) {
	s := &shelf{images: []cri.Image{{ID: "a"}, {ID: "b"}}}
	c := collector(s, &nodeFacts{disk: disk{1000, 1000}}, GCLimits{High: 85, Low: 80})
	var told []string
	now := time.Now()
	c.cfg.Present = func(ids []string, at time.Time) error {
		told = ids
		if !at.Equal(now) {
			t.Errorf("at %s, want the time before the list", at)
		}
		return errors.New("the disk is full")
	}
	if err := c.pass(t.Context(), now); err != nil {
		t.Errorf("what cannot be forgotten keeps images from being removed: %v", err)
	}
	if d := cmp.Diff([]string{"a", "b"}, told); d != "" {
		t.Error(d)
	}
}
