package main

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
)

// wireFeed makes what gives the set its pods.
func (a *agent) wireFeed(context.Context) error {
	a.pods.feed = feed.New(feed.Config{
		Sources: a.sources(), Autonomy: a.cfg.Agent.Autonomy, Taints: a.node.taints, Runtime: a.runtime,
		Set: a.pods.set, Writer: a.reports.writer, Objects: a.pods.objects, API: a.api.objects,
		Changed: a.objectChanged, Synced: a.pods.sweeper.AllSynced, Event: a.reports.events.NodeEvent,
	})
	return nil
}

// sources are those that are configured.
func (a *agent) sources() map[pod.Source]feed.Source {
	all := map[pod.Source]feed.Source{}
	if a.cfg.Sources.Path != "" {
		all[pod.SourceFile] = sources.Files{Path: a.cfg.Sources.Path, Node: a.host.name, Rescan: a.cfg.Sources.Rescan}.Run
	}
	if a.cfg.Sources.URL != "" {
		all[pod.SourceHTTP] = sources.URL{
			URL: a.cfg.Sources.URL, Header: a.cfg.Sources.URLHeader, Node: a.host.name, Every: a.cfg.Sources.URLRefresh,
		}.Run
	}
	if a.api.client != nil {
		all[pod.SourceAPI] = func(ctx context.Context, emit func(sources.Update)) {
			sources.API{Client: a.api.client, Node: a.host.name, Emit: func(pods []*v1.Pod) {
				select {
				case <-a.node.agent.Known(): // pods are admitted by its labels
					emit(sources.Update{Source: pod.SourceAPI, Pods: pods})
				case <-ctx.Done():
				}
			}, Seen: a.reports.writer.Seen}.Run(ctx)
		}
	}
	return all
}
