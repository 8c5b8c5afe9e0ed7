package feed

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
)

// Source says what it holds whenever that changes, until the context ends.
type Source func(ctx context.Context, emit func(sources.Update))

// Config is what a feed works with.
type Config struct {
	Sources  map[pod.Source]Source // those that are configured: the others have said all that they have
	Autonomy string                // of package config: what may start before the API server was heard
	Taints   *Taints
	Runtime  Sandboxes
	Set      *loop.Set
	Writer   *writer.Writer
	Objects  *objects.Store
	API      *kube.Objects // holds what pods of the API server name; nil: standalone

	Changed func(types.UID) // an object that a pod names may have come or changed
	Synced  func()          // every source has spoken
	Event   func(typ, reason, message string)
}

// Feed is used by one goroutine.
type Feed struct {
	cfg              Config
	held             map[types.UID]pod.Record // remembered, and not to be started before the API server was heard
	released, pruned bool
	referenced       map[types.UID]bool // pods of the API server whose objects are held
}

// New makes a feed; Adopt comes first, then Run.
func New(cfg Config) *Feed {
	return &Feed{cfg: cfg, referenced: map[types.UID]bool{}}
}

// Run takes what the sources say, merges it and makes it the pods of this node, until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	latest := map[pod.Source]sources.Update{}
	for _, s := range []pod.Source{pod.SourceFile, pod.SourceHTTP, pod.SourceAPI} {
		latest[s] = sources.Update{Source: s, Partial: f.cfg.Sources[s] != nil}
	}
	updates := make(chan sources.Update)
	emit := func(u sources.Update) {
		select {
		case updates <- u:
		case <-ctx.Done():
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, source := range f.cfg.Sources {
		g.Go(func() error {
			source(ctx, emit)
			return nil
		})
	}
	g.Go(func() error {
		told := map[string]bool{}
		for {
			set := sources.Merge(slices.Collect(maps.Values(latest))...)
			told = f.tell(set.Problems, told)
			f.apply(ctx, set)
			select {
			case <-ctx.Done():
				return nil
			case u := <-updates:
				latest[u.Source] = u
			}
		}
	})
	return g.Wait()
}

// tell makes an event of each problem that was not told before, and returns those that stand.
func (f *Feed) tell(problems []manifest.Problem, told map[string]bool) map[string]bool {
	now := make(map[string]bool, len(problems))
	for _, p := range problems {
		text := p.String()
		now[text] = true
		if !told[text] {
			f.cfg.Event(v1.EventTypeWarning, "InvalidManifest", text)
		}
	}
	return now
}

// apply makes a set of pods the node's. Objects come first: the pods of the same update name them.
func (f *Feed) apply(ctx context.Context, s sources.Set) {
	if f.silent(s) {
		return
	}
	changed := f.cfg.Objects.Swap(s.Objects)
	f.cfg.Writer.Mirrors(slices.Collect(maps.Values(s.Mirrors)))
	var static []string
	for _, d := range s.Pods {
		if d.Source == pod.SourceAPI {
			f.reference(d.Pod)
			continue
		}
		static = append(static, pod.FullName(d.Pod))
	}
	if s.Complete[pod.SourceFile] && s.Complete[pod.SourceHTTP] {
		f.cfg.Writer.Static(static)
	}
	f.release(ctx, s)
	f.cfg.Set.Apply(ctx, s.Pods, func(src pod.Source) bool { return s.Complete[src] })
	f.unreference(s)
	if s.Complete[pod.SourceFile] && s.Complete[pod.SourceHTTP] && s.Complete[pod.SourceAPI] {
		f.cfg.Synced()
		if f.cfg.API != nil && !f.pruned {
			f.pruned = true
			f.cfg.API.Prune()
		}
	}
	if changed { // an object that a pod waits for may have come
		for _, d := range s.Pods {
			if d.Source != pod.SourceAPI {
				f.cfg.Changed(d.Pod.UID)
			}
		}
	}
	slog.Debug("applied the sources", "pods", len(s.Pods), "problems", len(s.Problems))
}

// reference has the objects held that a pod of the API server names.
func (f *Feed) reference(p *v1.Pod) {
	if f.cfg.API == nil {
		return // it was joined before
	}
	f.referenced[p.UID] = true
	f.cfg.API.Reference(p)
}

// unreference lets go what pods named that are neither wanted nor here any more. A pod's end does so, too, but it comes
// before its source has stopped naming it.
func (f *Feed) unreference(s sources.Set) {
	for uid := range f.referenced {
		_, wanted := s.Pods[uid]
		if _, waits := f.held[uid]; !wanted && !waits && !f.cfg.Set.Has(uid) {
			f.cfg.API.Unreference(uid)
			delete(f.referenced, uid)
		}
	}
}
