package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/cmd/minikubelet/check"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/server"
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
	return server.Source{
		Runtime: a.sessions(),
		Pods:    a.set.Pods, Changed: a.changes.next, Node: a.toldNode, Health: a.upkeep.health,
		Events:      func() []v1.Event { return a.events.List("", "") },
		EventsAfter: a.events.Watch,
		Logs:        a.readLog,
		Version:     version,
		Check:       a.checker().Lacks,
		Handlers:    a.meters(),
		Config:      a.configz,
	}
}

// checker tells what this node lacks for a pod.
func (a *agent) checker() check.Node {
	return check.Node{
		Pods: a.set.Pods, Admit: a.admit, Objects: a.objects,
		HasImage: func(ctx context.Context, name string) (bool, error) {
			i, err := a.runtime.ImageStatus(ctx, name)
			return i != nil, err
		},
	}
}

// readLog finds the log of a container's current or previous run and copies it.
func (a *agent) readLog(ctx context.Context, w io.Writer, p *v1.Pod, container string, o *v1.PodLogOptions) error {
	_, containers, err := a.observer.Runtime(ctx, p.UID)
	if err != nil {
		return err
	}
	var runs []pod.Container
	for _, c := range containers {
		if c.Name == container && c.State != pod.ContainerCreated {
			runs = append(runs, c)
		}
	}
	which := 0
	if o.Previous && !betweenRuns(p, container) {
		which = 1
	}
	if n, ok := removedRun(p, container); o.Previous && which >= len(runs) && ok {
		runs, which = []pod.Container{{Attempt: n, State: pod.ContainerExited}}, 0
	}
	if which >= len(runs) {
		if o.Previous {
			return fmt.Errorf("previous terminated container %q in pod %q not found", container, p.Name)
		}
		return fmt.Errorf("container %q in pod %q is waiting to start", container, p.Name)
	}
	run := runs[which]
	opts := logs.Options{Follow: o.Follow && run.State == pod.ContainerRunning, Timestamps: o.Timestamps, TailLines: o.TailLines, LimitBytes: o.LimitBytes}
	switch {
	case o.SinceTime != nil:
		opts.Since = o.SinceTime.Time
	case o.SinceSeconds != nil:
		opts.Since = time.Now().Add(-time.Duration(*o.SinceSeconds) * time.Second)
	}
	path := filepath.Join(cri.PodLogDir(a.cfg.Pods.LogDir, p), cri.ContainerLogPath(container, run.Attempt))
	running := func(ctx context.Context, id string) (bool, error) {
		s, err := a.runtime.ContainerStatus(ctx, id)
		if errors.Is(err, cri.ErrNotFound) {
			return false, nil
		}
		return err != nil || s.GetFinishedAt() == 0, nil
	}
	return logs.Read(ctx, path, run.ID, opts, running, w, w)
}

// betweenRuns reports whether a container waits for its next run: the newest run is then the previous one, too.
func betweenRuns(p *v1.Pod, container string) bool {
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == container {
				return c.State.Waiting != nil
			}
		}
	}
	return false
}

// removedRun is the number of a container's previous run when a restart of all containers has removed it from the runtime;
// its log is kept.
func removedRun(p *v1.Pod, container string) (uint32, bool) {
	spec, _ := pod.SpecOf(p, container)
	if spec == nil || !slices.ContainsFunc(p.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.AllContainersRestarting }) {
		return 0, false
	}
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == container && c.LastTerminationState.Terminated != nil {
				n := c.RestartCount
				if c.State.Waiting == nil {
					n--
				}
				return uint32(max(n, 0)), n >= 0
			}
		}
	}
	return 0, false
}

func (a *agent) reviewToken(ctx context.Context, token string) (server.User, bool, error) {
	r := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	got := &authenticationv1.TokenReview{}
	if err := a.api.client.Create(ctx, kube.Key{Resource: kube.TokenReviews}, r, got); err != nil {
		return server.User{}, false, err
	}
	u := got.Status.User
	extra := map[string][]string{}
	for k, v := range u.Extra {
		extra[k] = v
	}
	return server.User{Name: u.Username, UID: u.UID, Groups: u.Groups, Extra: extra}, got.Status.Authenticated, nil
}

// reviewAccess asks the API server. Without one, nobody can be authorized in this mode.
func (a *agent) reviewAccess(ctx context.Context, at server.Attributes) (bool, string, error) {
	if a.api.client == nil {
		return false, "authorization.mode is Webhook and there is no API server to ask: set AlwaysAllow", nil
	}
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range at.User.Extra {
		extra[k] = v
	}
	r := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: at.User.Name, UID: at.User.UID, Groups: at.User.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: at.Verb, Version: "v1", Resource: "nodes", Subresource: at.Subresource, Name: a.host.name,
		},
	}}
	got := &authorizationv1.SubjectAccessReview{}
	if err := a.api.client.Create(ctx, kube.Key{Resource: kube.SubjectAccessReviews}, r, got); err != nil {
		return false, "", err
	}
	return got.Status.Allowed, got.Status.Reason, nil
}
