package main

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
)

// newFeed makes what gives the set its pods.
func (b base) newFeed(api clients, n nodeParts, o objectParts, p podParts, r reports) *feed.Feed {
	return feed.New(feed.Config{
		Sources: b.sources(api, n, r), Autonomy: b.cfg.Agent.Autonomy, Taints: n.taints, Runtime: b.runtime,
		Set: p.set, Writer: r.writer, Objects: o.store, API: o.api,
		Changed: b.wakes.Retry, Synced: p.sweeper.AllSynced, Event: r.events.NodeEvent,
	})
}

// sources are those that are configured.
func (b base) sources(api clients, n nodeParts, r reports) map[pod.Source]feed.Source {
	all := map[pod.Source]feed.Source{}
	if b.cfg.Sources.Path != "" {
		all[pod.SourceFile] = sources.Files{Path: b.cfg.Sources.Path, Node: b.host.name, Rescan: b.cfg.Sources.Rescan}.Run
	}
	if b.cfg.Sources.URL != "" {
		all[pod.SourceHTTP] = sources.URL{
			URL: b.cfg.Sources.URL, Header: b.cfg.Sources.URLHeader, Node: b.host.name, Every: b.cfg.Sources.URLRefresh,
		}.Run
	}
	if api.main != nil {
		all[pod.SourceAPI] = func(ctx context.Context, emit func(sources.Update)) {
			sources.API{Client: api.main, Node: b.host.name, Emit: func(pods []*v1.Pod) {
				select {
				case <-n.agent.Known(): // pods are admitted by its labels
					emit(sources.Update{Source: pod.SourceAPI, Pods: pods})
				case <-ctx.Done():
				}
			}, Seen: r.writer.Seen}.Run(ctx)
		}
	}
	return all
}
