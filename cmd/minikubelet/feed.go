package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// feed takes what the sources say, merges it and makes it the pods of this node.
func (a *agent) feed(ctx context.Context) error {
	latest := map[pod.Source]sources.Update{}
	for _, s := range []pod.Source{pod.SourceFile, pod.SourceHTTP, pod.SourceAPI} {
		latest[s] = sources.Update{Source: s, Partial: a.configured(s)} // what is not configured has said all it has
	}
	updates := make(chan sources.Update)
	emit := func(u sources.Update) {
		select {
		case updates <- u:
		case <-ctx.Done():
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, source := range a.sources() {
		g.Go(func() error {
			source(ctx, emit)
			return nil
		})
	}
	g.Go(func() error {
		told := map[string]bool{}
		for {
			set := sources.Merge(slices.Collect(maps.Values(latest))...)
			told = a.tell(set.Problems, told)
			a.apply(ctx, set)
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
func (a *agent) tell(problems []manifest.Problem, told map[string]bool) map[string]bool {
	now := make(map[string]bool, len(problems))
	for _, p := range problems {
		text := p.String()
		now[text] = true
		if !told[text] {
			a.events.NodeEvent(v1.EventTypeWarning, "InvalidManifest", text)
		}
	}
	return now
}

func (a *agent) configured(s pod.Source) bool {
	switch s {
	case pod.SourceFile:
		return a.cfg.Sources.Path != ""
	case pod.SourceHTTP:
		return a.cfg.Sources.URL != ""
	}
	return a.api.client != nil
}

func (a *agent) sources() []func(context.Context, func(sources.Update)) {
	var all []func(context.Context, func(sources.Update))
	if a.configured(pod.SourceFile) {
		all = append(all, sources.Files{Path: a.cfg.Sources.Path, Node: a.host.name, Rescan: a.cfg.Sources.Rescan}.Run)
	}
	if a.configured(pod.SourceHTTP) {
		all = append(all, sources.URL{
			URL: a.cfg.Sources.URL, Header: a.cfg.Sources.URLHeader, Node: a.host.name, Every: a.cfg.Sources.URLRefresh,
		}.Run)
	}
	if a.configured(pod.SourceAPI) {
		all = append(all, func(ctx context.Context, emit func(sources.Update)) {
			sources.API{Client: a.api.client, Node: a.host.name, Emit: func(pods []*v1.Pod) {
				select {
				case <-a.node.Known(): // pods are admitted by its labels
					emit(sources.Update{Source: pod.SourceAPI, Pods: pods})
				case <-ctx.Done():
				}
			}, Seen: a.writer.Seen}.Run(ctx)
		})
	}
	return all
}

// apply makes a set of pods the node's. Objects come first: the pods of the same update name them.
func (a *agent) apply(ctx context.Context, s sources.Set) {
	if a.silent(s) {
		return
	}
	before := a.objects.files.Swap(&s.Objects)
	a.writer.Mirrors(slices.Collect(maps.Values(s.Mirrors)))
	var static []string
	for _, d := range s.Pods {
		if d.Source == pod.SourceAPI {
			a.reference(d.Pod)
			continue
		}
		static = append(static, pod.FullName(d.Pod))
	}
	if s.Complete[pod.SourceFile] && s.Complete[pod.SourceHTTP] {
		a.writer.Static(static)
	}
	a.release(ctx, s)
	a.set.Apply(ctx, s.Pods, func(src pod.Source) bool { return s.Complete[src] })
	a.unreference(s)
	if s.Complete[pod.SourceFile] && s.Complete[pod.SourceHTTP] && s.Complete[pod.SourceAPI] {
		a.upkeep.allSynced()
		if a.api.objects != nil && !a.pruned {
			a.pruned = true
			a.api.objects.Prune()
		}
	}
	if before == nil || !before.Equal(s.Objects) { // an object that a pod waits for may have come
		for _, d := range s.Pods {
			if d.Source != pod.SourceAPI {
				a.upkeep.want(d.Pod.UID)
				a.set.Retry(d.Pod.UID)
			}
		}
	}
	slog.Debug("applied the sources", "pods", len(s.Pods), "problems", len(s.Problems))
}

// reference has the objects held that a pod of the API server names.
func (a *agent) reference(p *v1.Pod) {
	if a.api.objects == nil {
		return // it was joined before
	}
	a.referenced[p.UID] = true
	a.api.objects.Reference(p)
}

// unreference lets go what pods named that are neither wanted nor here any more. A pod's end does so, too, but it comes
// before its source has stopped naming it.
func (a *agent) unreference(s sources.Set) {
	for uid := range a.referenced {
		_, wanted := s.Pods[uid]
		if _, waits := a.held[uid]; !wanted && !waits && !a.set.Has(uid) {
			a.api.objects.Unreference(uid)
			delete(a.referenced, uid)
		}
	}
}
