package main

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"runtime"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/events"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/podcert"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
	"github.com/minikubelet/minikubelet/pkg/sync/fuse"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
)

// apiSide is what talks to the API server; the zero value is a standalone agent.
type apiSide struct {
	client    *kube.Client
	heartbeat *kube.Client
	objects   *kube.Objects
	services  *kube.ServiceList
	rotation  *certs.Rotation // of the client certificate; nil: it is not the agent's to renew
	serving   *certs.Rotation // of the serving certificate; nil: the cluster does not sign it
	issuer    *podcert.Issuer // of pods' certificates
}

// reports are what tells others of pods and of the node.
type reports struct {
	events   *events.Recorder
	told     fuse.Teller // the recorder, for events of pods
	writer   *writer.Writer
	counters *activity.Counters
	meter    *metrics.Collector
}

func (a *agent) wireAPI(ctx context.Context) error {
	cert := ""
	if a.cfg.API.Kubeconfig != "" {
		var err error
		if cert, err = a.bootstrap(ctx); err != nil {
			return err
		}
		a.api.client, err = kube.New(kube.Config{
			Kubeconfig: a.cfg.API.Kubeconfig, ClientCert: cert, UserAgent: "minikubelet/" + version + " (linux/" + runtime.GOARCH + ")",
			QPS: a.cfg.API.QPS, Burst: a.cfg.API.Burst,
		})
		if err != nil {
			return err
		}
		if a.api.heartbeat, err = a.api.client.Unlimited(); err != nil {
			return err
		}
		keep, err := kube.OpenKeep(filepath.Join(a.cfg.Agent.Root, "minikubelet", "objects"), slog.Default())
		if err != nil {
			return err
		}
		a.api.objects = kube.NewObjects(a.api.client, a.objectChanged, keep, nil)
		a.api.services = kube.NewServiceList(a.api.client, keep, nil)
	}
	var api objects.Getter
	if a.api.objects != nil {
		api = a.api.objects
	}
	a.pods.objects = objects.NewStore(api)
	a.pods.starts = a.atOnce()
	ec := events.Config{Node: a.nodeObject, Busy: a.pods.starts.Busy, QPS: float64(a.cfg.API.EventQPS), Burst: a.cfg.API.EventBurst}
	wc := writer.Config{Node: a.nodeObject, Busy: a.pods.starts.Busy, Synced: a.reports.counters.Synced}
	if a.api.client != nil {
		ec.API, wc.API = a.api.heartbeat, a.api.client
	}
	a.reports.events, a.reports.writer = events.New(ec), writer.New(wc)
	a.reports.told = activity.CountedEvents{To: a.pods.fuse.Events(a.reports.events), Count: a.reports.counters}
	if a.api.client != nil {
		return a.rotations(cert != "")
	}
	return nil
}

// atOnce bounds how many pods are brought up, or torn down, at once.
func (a *agent) atOnce() *loop.Limit {
	return loop.NewLimit(cmp.Or(a.cfg.Pods.StartLimit, 2*runtime.NumCPU()))
}

// nodeObject is the Node as the agent knows it; before it is wired, its name alone.
func (a *agent) nodeObject() *v1.Node {
	if a.node.agent == nil {
		n := &v1.Node{}
		n.Name = a.host.name
		return n
	}
	return a.node.agent.Node()
}
