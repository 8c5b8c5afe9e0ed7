package upkeep

import (
	"context"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
)

const refreshEvery = time.Minute

// contents are what volumes hold.
type contents interface {
	Refresh(ctx context.Context, p *v1.Pod) error
}

// Refresher brings the content of configMap, secret and the like in volumes up to date.
type Refresher struct {
	set     *loop.Set
	volumes contents
	event   func(p *v1.Pod, container, typ, reason, message string)
	wanted  chan types.UID // pods whose objects may have changed
}

// NewRefresher refreshes volumes of the pods of a set. A pod whose volumes keep what they have gets an event.
func NewRefresher(set *loop.Set, v contents, event func(p *v1.Pod, container, typ, reason, message string)) *Refresher {
	return &Refresher{set: set, volumes: v, event: event, wanted: make(chan types.UID, 64)}
}

// Want asks for a refresh of one pod soon. When too many ask at once, the next round serves those that are left out.
func (r *Refresher) Want(uid types.UID) {
	select {
	case r.wanted <- uid:
	default:
	}
}

// RunWanted refreshes the pods that ask for it, until ctx ends.
func (r *Refresher) RunWanted(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case uid := <-r.wanted:
			if p := r.set.Pod(uid); p != nil {
				r.refresh(ctx, p)
			}
		}
	}
}

// Run refreshes every running pod each minute, until ctx ends.
func (r *Refresher) Run(ctx context.Context) {
	t := time.NewTicker(refreshEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			for _, p := range r.set.Pods() {
				r.refresh(ctx, p)
			}
		}
	}
}

func (r *Refresher) refresh(ctx context.Context, p *v1.Pod) {
	if pod.IsOver(p) {
		return
	}
	if err := r.volumes.Refresh(ctx, p); err != nil && ctx.Err() == nil {
		slog.Warn("cannot refresh a pod's volumes: they keep their content", "pod", pod.FullName(p), "uid", p.UID, "err", err)
		if p.DeletionTimestamp == nil { // whose objects may go with it
			r.event(p, "", v1.EventTypeWarning, "FailedMount", err.Error())
		}
	}
}
