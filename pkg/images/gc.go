package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

// gcEvery is how often the disk is looked at.
const gcEvery = 5 * time.Minute

// Store is what the collector needs of the container runtime.
type Store interface {
	ListImages(ctx context.Context) ([]cri.Image, error)
	RemoveImage(ctx context.Context, id string) error
}

// GCConfig is a collector's configuration.
type GCConfig struct {
	Store  Store
	Limits GCLimits
	// InUse are the images that containers were made from and that pods name, by ID, name or digest.
	InUse func(ctx context.Context) ([]string, error)
	// Disk measures the file system of images, in bytes.
	Disk func(ctx context.Context) (capacity, available int64, err error)
	// Present is told the IDs of all images that were there at a time, so that what is known of others can go; nil: nobody.
	Present func(ids []string, at time.Time) error
	Event   func(typ, reason, message string) // about the node
	Removed func(why string)                  // counts an image that was removed, for space or for its age; may be nil
	Log     *slog.Logger
}

// Collector removes images that nothing uses when the disk gets full or they get old. What the agent knows of their use
// begins with its start.
type Collector struct {
	cfg  GCConfig
	wake chan struct{}

	mu     sync.Mutex // one pass at a time; guards all below
	limits GCLimits
	known  map[string]candidate // by ID
}

// NewCollector returns a collector.
func NewCollector(cfg GCConfig) *Collector {
	return &Collector{cfg: cfg, limits: cfg.Limits, wake: make(chan struct{}, 1), known: map[string]candidate{}}
}

// Set changes the limits and lets Run look at once.
func (c *Collector) Set(l GCLimits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limits == l {
		return
	}
	c.limits = l
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run looks now and every 5 minutes until the context ends.
func (c *Collector) Run(ctx context.Context) {
	t := time.NewTicker(gcEvery)
	defer t.Stop()
	for {
		if err := c.pass(ctx, time.Now()); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("cannot remove unused images", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.wake:
		}
	}
}

// pass removes what is too old, and then, when the disk is too full, as much as brings it down to the low limit.
func (c *Collector) pass(ctx context.Context, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, err := c.look(ctx, now)
	if err != nil {
		return err
	}
	old, rest := c.limits.old(c.limits.removable(all, now), now)
	_, err = c.remove(ctx, old, math.MaxInt64, cause{"age", "not used for longer than imageMaximumGCAge"})
	var d disk
	var derr error
	if d.capacity, d.available, derr = c.cfg.Disk(ctx); derr != nil {
		return errors.Join(err, fmt.Errorf("cannot measure the file system of images: %w", derr))
	}
	excess := c.limits.excess(d)
	if excess == 0 {
		return err
	}
	freed, rerr := c.remove(ctx, rest, excess, cause{"space", "the disk is fuller than imageGCHighThresholdPercent"})
	if freed < excess && ctx.Err() == nil {
		c.cfg.Event(v1.EventTypeWarning, "FreeDiskSpaceFailed", fmt.Sprintf(
			"Failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free.", excess, freed))
	}
	return errors.Join(err, rerr)
}

// Reclaim removes every image that may go, whatever the disk: eviction asks for it before it evicts a pod.
func (c *Collector) Reclaim(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	all, err := c.look(ctx, now)
	if err != nil {
		return err
	}
	_, err = c.remove(ctx, c.limits.removable(all, now), math.MaxInt64, cause{"space", "the node is short of disk"})
	return err
}

// look brings what is known of the images up to date.
func (c *Collector) look(ctx context.Context, now time.Time) ([]candidate, error) {
	list, err := c.cfg.Store.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	names, err := c.cfg.InUse(ctx) // after the list: an image that came into use in between is kept
	if err != nil {
		return nil, fmt.Errorf("cannot tell which images are in use: %w", err)
	}
	used := map[string]bool{}
	for _, n := range names {
		used[n] = true
		if r, err := reference.ParseDockerRef(n); err == nil {
			used[r.String()] = true
		}
	}
	if c.cfg.Present != nil {
		ids := make([]string, 0, len(list))
		for _, i := range list {
			ids = append(ids, i.ID)
		}
		if err := c.cfg.Present(ids, now); err != nil {
			c.cfg.Log.Warn("cannot forget images that are gone", "err", err)
		}
	}
	known, all := map[string]candidate{}, make([]candidate, 0, len(list))
	for _, i := range list {
		k, ok := c.known[i.ID]
		if !ok {
			k = candidate{id: i.ID, first: now}
		}
		k.name, k.size = nameOf(i), int64(min(i.Size, math.MaxInt64))
		inUse := slices.ContainsFunc(slices.Concat([]string{i.ID}, i.Tags, i.Digests), func(n string) bool { return used[n] })
		if inUse {
			k.used = now
		}
		k.kept = inUse || i.Pinned
		known[i.ID] = k
		all = append(all, k)
	}
	c.known = known
	return all, nil
}

func nameOf(i cri.Image) string {
	if names := slices.Concat(i.Tags, i.Digests); len(names) > 0 {
		return names[0]
	}
	return i.ID
}

// cause is why an image goes: for monitoring, and in words.
type cause struct{ label, text string }

// remove removes images in turn until enough bytes are free, and goes on after a failure.
func (c *Collector) remove(ctx context.Context, list []candidate, enough int64, why cause) (freed int64, err error) {
	var errs []error
	for _, i := range list {
		if freed >= enough || ctx.Err() != nil {
			break
		}
		if err := c.cfg.Store.RemoveImage(ctx, i.id); err != nil {
			errs = append(errs, err)
			continue
		}
		c.cfg.Log.Info("removed an image that nothing uses", "image", i.name, "id", i.id, "bytes", i.size, "why", why.text)
		delete(c.known, i.id)
		freed += i.size
		if c.cfg.Removed != nil {
			c.cfg.Removed(why.label)
		}
	}
	return freed, errors.Join(errs...)
}
