package main

import (
	"context"
	"log/slog"
	"path/filepath"
	goruntime "runtime"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/events"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/podcert"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
	"github.com/minikubelet/minikubelet/pkg/sync/fuse"
)

// clients talk to the API server; both are nil on a standalone node.
type clients struct {
	main      *kube.Client
	heartbeat *kube.Client // without a limit of its own
	adopted   bool         // the client certificate is the agent's, not the kubeconfig's
}

func (b base) newClients(ctx context.Context) (c clients, err error) {
	if b.cfg.API.Kubeconfig == "" {
		return c, nil
	}
	cert, err := b.bootstrap(ctx)
	if err != nil {
		return c, err
	}
	c.adopted = cert != ""
	c.main, err = kube.New(kube.Config{
		Kubeconfig: b.cfg.API.Kubeconfig, ClientCert: cert, UserAgent: "minikubelet/" + version + " (linux/" + goruntime.GOARCH + ")",
		QPS: b.cfg.API.QPS, Burst: b.cfg.API.Burst,
	})
	if err != nil {
		return c, err
	}
	c.heartbeat, err = c.main.Unlimited()
	return c, err
}

// reports are what tells others of pods and of the node.
type reports struct {
	queue  *kube.Queue // of what is written of them to the API server
	events *events.Recorder
	told   fuse.Teller // the recorder, for events of pods
	writer *writer.Writer
}

func (b base) newReports(api clients, n nodeParts) reports {
	queue := kube.NewQueue(b.starts.Crowd)
	ec := events.Config{Node: n.agent.Node, Queue: queue, QPS: float64(b.cfg.API.EventQPS), Burst: b.cfg.API.EventBurst}
	wc := writer.Config{Node: n.agent.Node, Queue: queue, Synced: b.counters.Synced}
	if api.main != nil {
		ec.API, wc.API = api.heartbeat, api.main
	}
	r := reports{queue: queue, events: events.New(ec), writer: writer.New(wc)}
	r.told = activity.CountedEvents{To: b.fuse.Events(r.events), Count: b.counters}
	return r
}

// objectParts are what pods name at the API server; but for the store they are nil on a standalone node.
type objectParts struct {
	store    *objects.Store
	api      *kube.Objects
	services *kube.ServiceList
	issuer   *podcert.Issuer // of pods' certificates
	events   *events.Recorder
}

func (b base) newObjects(api clients, n nodeParts, r reports) (objectParts, error) {
	if api.main == nil {
		return objectParts{store: objects.NewStore(nil)}, nil
	}
	keep, err := kube.OpenKeep(filepath.Join(b.cfg.Agent.Root, "minikubelet", "objects"), slog.Default())
	if err != nil {
		return objectParts{}, err
	}
	o := objectParts{api: kube.NewObjects(api.main, b.wakes.Retry, keep, nil), services: kube.NewServiceList(api.main, keep, nil), events: r.events}
	o.store = objects.NewStore(o.api)
	o.issuer = podcert.New(podcert.Config{API: o.api, Node: n.agent.Node, Event: r.told.Event, Now: time.Now})
	return o, nil
}

// token requests a service account token that is bound to the pod, and tells the pod of one that is over.
func (o objectParts) token(ctx context.Context, p *v1.Pod, audience string, seconds int64) (string, time.Time, error) {
	token, ends, err := o.api.PodToken(ctx, p, audience, seconds)
	if err == nil && time.Now().After(ends) {
		o.events.Event(p, "", v1.EventTypeWarning, "TokenExpired", "the token of service account "+kube.AccountOf(p)+
			" is over since "+ends.UTC().Format(time.RFC3339)+" and the API server, which gives another, is away")
	}
	return token, ends, err
}
