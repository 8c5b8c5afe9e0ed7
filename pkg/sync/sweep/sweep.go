// Package sweep removes what the node has of pods that nobody names.
package sweep

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

const (
	sweepEvery = 5 * time.Minute
	sweepAgain = 30 * time.Second // what the runtime was at when the last agent died shows only later
)

// Sweeper removes what the node has of pods that nobody names.
type Sweeper struct {
	set     *loop.Set
	runtime *cri.Observer
	volumes *volumes.Volumes
	cgroups *cgroups.Tree

	synced chan struct{}
	once   sync.Once
}

// New looks at the runtime, at the directories of volumes and at cgroups.
func New(set *loop.Set, runtime *cri.Observer, v *volumes.Volumes, c *cgroups.Tree) *Sweeper {
	return &Sweeper{set: set, runtime: runtime, volumes: v, cgroups: c, synced: make(chan struct{})}
}

// AllSynced tells that every source has spoken: silence of one means something from here on.
func (s *Sweeper) AllSynced() { s.once.Do(func() { close(s.synced) }) }

// Synced is closed by AllSynced.
func (s *Sweeper) Synced() <-chan struct{} { return s.synced }

// Run sweeps once the sources have spoken and then now and then, until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.synced:
	}
	for wait := sweepAgain; ctx.Err() == nil; wait = sweepEvery {
		s.Sweep(ctx)
		kube.Sleep(ctx, wait)
	}
}

// Sweep begins the teardown of what it finds.
func (s *Sweeper) Sweep(ctx context.Context) {
	found := map[types.UID]loop.Orphan{}
	dirs, err1 := s.volumes.Leftovers()
	groups, err2 := s.cgroups.Leftovers()
	for _, uid := range append(dirs, groups...) {
		found[uid] = loop.Orphan{UID: uid}
	}
	known, err3 := s.runtime.ObserveAll(ctx)
	for _, k := range known {
		found[types.UID(k.UID)] = loop.Orphan{UID: types.UID(k.UID), Namespace: k.Namespace, Name: k.Name}
	}
	if err := errors.Join(err1, err2, err3); err != nil && ctx.Err() == nil {
		slog.Warn("cannot look for leftovers everywhere", "err", err)
	}
	s.set.Bury(ctx, slices.Collect(maps.Values(found)))
}

// ReleaseNetworks gives back the network attachments whose sandbox the runtime no longer has: at the start and again soon,
// until none is left, and then now and then, until ctx ends.
func ReleaseNetworks(ctx context.Context, network *cni.Node, runtime *cri.Client) {
	wait, begun := sweepAgain, false
	for ; ctx.Err() == nil; kube.Sleep(ctx, wait) {
		wait = sweepAgain
		live, err := sandboxes(ctx, runtime)
		if err != nil {
			continue
		}
		left, err := network.Release(ctx, func(id string) bool { return live[id] })
		switch {
		case err != nil && ctx.Err() == nil:
			slog.Warn("cannot release a network attachment that is left over: it is tried again", "err", err)
		case left == 0 && begun:
			wait = sweepEvery
		}
		begun = true
	}
}

// sandboxes are those that the runtime knows, by ID.
func sandboxes(ctx context.Context, runtime *cri.Client) (map[string]bool, error) {
	list, err := runtime.ListPodSandboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	live := make(map[string]bool, len(list))
	for _, s := range list {
		live[s.Id] = true
	}
	return live, nil
}
