package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/record"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

const (
	refreshEvery = time.Minute      // content of configMap, secret and the like
	sweepEvery   = 5 * time.Minute  // what nobody names
	sweepAgain   = 30 * time.Second // what the runtime was at when the last agent died shows only later
	beatEvery    = 5 * time.Second
	beatLost     = 60 * time.Second
)

// upkeep is what a node needs now and then: contents refreshed, leftovers removed, a pulse.
type upkeep struct {
	set     *loop.Set
	runtime *cri.Observer
	volumes *volumes.Volumes
	cgroups *cgroups.Tree
	network *cni.Node // nil: the runtime's own

	store *record.Store

	wanted chan types.UID // pods whose objects may have changed
	synced chan struct{}  // closed once every source has spoken
	once   sync.Once
	pulse  atomic.Pointer[time.Time] // of the last beat, by a clock that nobody sets
}

// allSynced tells that silence of a source now means something.
func (u *upkeep) allSynced() { u.once.Do(func() { close(u.synced) }) }

// beat shows that the set of pods can still be reached: a deadlock would stop it.
func (u *upkeep) beat(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		u.set.Poke("none", false)
		u.live()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// live tells that there is progress.
func (u *upkeep) live() { u.pulse.Store(new(time.Now())) }

// health fails when the pulse is lost.
func (u *upkeep) health() error {
	last := u.pulse.Load()
	if last == nil {
		return errors.New("the agent has not begun yet")
	}
	if since := time.Since(*last); since > beatLost {
		return fmt.Errorf("the agent has shown no progress for %s", since.Round(time.Second))
	}
	return nil
}

// refresh brings the volumes of every running pod up to date each minute.
func (u *upkeep) refresh(ctx context.Context) error {
	return every(ctx, refreshEvery, func() {
		for _, p := range u.set.Pods() {
			u.refreshPod(ctx, p)
		}
	})
}

// want asks for a refresh of one pod soon. When too many ask at once, the next round serves those that are left out.
func (u *upkeep) want(uid types.UID) {
	select {
	case u.wanted <- uid:
	default:
	}
}

// refreshWanted refreshes the pods that ask for it.
func (u *upkeep) refreshWanted(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case uid := <-u.wanted:
			if p := u.set.Pod(uid); p != nil {
				u.refreshPod(ctx, p)
			}
		}
	}
}

func (u *upkeep) refreshPod(ctx context.Context, p *v1.Pod) {
	if pod.IsOver(p) {
		return
	}
	if err := u.volumes.Refresh(ctx, p); err != nil && ctx.Err() == nil {
		slog.Warn("cannot refresh a pod's volumes: they keep their content", "pod", pod.FullName(p), "uid", p.UID, "err", err)
	}
}

// sweep removes what the node has of pods that nobody names, once the sources have spoken and then now and then.
func (u *upkeep) sweep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-u.synced:
	}
	for wait := sweepAgain; ; wait = sweepEvery {
		u.bury(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (u *upkeep) bury(ctx context.Context) {
	found := map[types.UID]loop.Orphan{}
	dirs, err1 := u.volumes.Leftovers()
	groups, err2 := u.cgroups.Leftovers()
	for _, uid := range append(dirs, groups...) {
		found[uid] = loop.Orphan{UID: uid}
	}
	known, err3 := u.runtime.ObserveAll(ctx)
	for _, k := range known {
		found[types.UID(k.UID)] = loop.Orphan{UID: types.UID(k.UID), Namespace: k.Namespace, Name: k.Name}
	}
	if err := errors.Join(err1, err2, err3); err != nil && ctx.Err() == nil {
		slog.Warn("cannot look for leftovers everywhere", "err", err)
	}
	u.set.Bury(ctx, slices.Collect(maps.Values(found)))
}

// release gives back the network attachments whose sandbox the runtime no longer has: at the start and again soon, until
// none is left, and then now and then.
func (u *upkeep) release(ctx context.Context, sandboxes func(context.Context) (map[string]bool, error)) error {
	wait, begun := time.Duration(0), false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = sweepAgain
		live, err := sandboxes(ctx)
		if err != nil {
			continue
		}
		left, err := u.network.Release(ctx, func(id string) bool { return live[id] })
		switch {
		case err != nil && ctx.Err() == nil:
			slog.Warn("cannot release a network attachment that is left over: it is tried again", "err", err)
		case left == 0 && begun:
			wait = sweepEvery
		}
		begun = true
	}
}

func every(ctx context.Context, d time.Duration, do func()) error {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			do()
		}
	}
}
