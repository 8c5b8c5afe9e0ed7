package main

import (
	"context"
	"errors"
	"io"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/cmd/minikubelet/check"
	"github.com/minikubelet/minikubelet/pkg/server"
	"github.com/minikubelet/minikubelet/pkg/server/sessions"
)

// listen opens every socket of the agent, or none: it is ready when others can ask it. What it returns serves them.
func (a *agent) listen() (serve []func(context.Context) error, err error) {
	var opened []io.Closer
	defer func() {
		if err == nil {
			return
		}
		for _, l := range opened {
			err = errors.Join(err, l.Close())
		}
	}()
	src := a.source()
	local, err := server.ListenLocal(a.cfg.Agent.Socket, src)
	if err != nil {
		return nil, err
	}
	opened, serve = append(opened, local), append(serve, local.Run)
	if h := a.cfg.Server.Healthz; h.Port() != 0 {
		health, err := server.ListenHealth(h.String(), src)
		if err != nil {
			return nil, err
		}
		opened, serve = append(opened, health), append(serve, health.Run)
	}
	if a.cfg.Server.Enabled {
		c, err := a.nodeServer()
		if err != nil {
			return nil, err
		}
		c.Count = a.counters.Requests
		node, err := server.ListenNode(c, src)
		if err != nil {
			return nil, err
		}
		serve = append(serve, node.Run)
	}
	return serve, nil
}

// source is what the servers tell.
func (a *agent) source() server.Source {
	s := sessions.Sessions{Runtime: a.runtime, Observer: a.pods.observer.CRI, Root: a.cfg.Agent.Root, PodLogs: a.cfg.Pods.LogDir}
	return server.Source{
		Runtime: s.API(),
		Pods:    a.pods.set.Pods, Changed: a.changes.next, Node: a.node.agent.Told, Health: a.pulse.Health,
		Events:      func() []v1.Event { return a.reports.events.List("", "") },
		EventsAfter: a.reports.events.Watch,
		Logs:        s.ReadLog,
		Version:     version,
		Check:       a.checker().Lacks,
		Handlers:    a.meters(),
		Config:      a.live.configz,
	}
}

// checker tells what this node lacks for a pod.
func (a *agent) checker() check.Node {
	return check.Node{
		Pods: a.pods.set.Pods, Admit: a.pods.admission.admit, Objects: a.objects.store,
		HasImage: func(ctx context.Context, name string) (bool, error) {
			i, err := a.runtime.ImageStatus(ctx, name)
			return i != nil, err
		},
	}
}
