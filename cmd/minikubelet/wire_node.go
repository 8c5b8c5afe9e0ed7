package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

// nodeParts are what registers the Node, and what its status and its pressure rest on.
type nodeParts struct {
	limiter *node.Limiter
	agent   *node.Agent
	monitor *cri.Monitor
	guard   *eviction.Guard
	usage   *stats.Source // measures what the guard and the meter tell
	taints  *feed.Taints
}

func (a *agent) wireNode(context.Context) error {
	c := node.Config{
		Register: a.cfg.Node.Register,
		Registration: node.Registration{
			Name: a.host.name, Labels: a.cfg.Node.Labels, Taints: a.cfg.Node.Taints, ProviderID: a.cfg.Node.ProviderID,
			Unschedulable: a.cfg.Node.Unschedulable, ExternalCloud: a.cfg.Node.ExternalCloud, ProvidedIPs: a.cfg.Node.IPs,
		},
		Facts: node.Facts{
			Machine: a.host.machine, MaxPods: maxPods(a.cfg.Node, a.host.machine.CPUs), IPs: a.host.ips, Hostname: a.host.name, Version: version,
			MaxImages: a.cfg.Node.MaxImages, Cloud: a.cfg.Node.ExternalCloud,
			Reserved: node.Reserved{Kube: a.cfg.Cgroups.KubeReserved, System: a.cfg.Cgroups.SystemReserved, EvictionHard: a.cfg.Eviction.Hard},
		},
		Observe: a.observeNode, Drivers: func() []storagev1.CSINodeDriver { return node.CSIDrivers(a.local.csi.Drivers()) }, Changed: func() {
			a.reports.writer.Poke()
			a.pods.changes.notify()
			a.node.taints.Keep(a.node.agent.Known(), a.node.agent.Node)
		},
		Event: func(n node.News) { a.reports.events.NodeEvent(n.Type, n.Reason, n.Message) },

		UpdateEvery: a.cfg.Node.Intervals.Status, ReportEvery: a.cfg.Node.Intervals.Report, Lease: a.cfg.Node.Intervals.Lease,
	}
	if a.cfg.Node.ExternalCloud && len(a.cfg.Node.IPs) == 0 {
		c.Facts.IPs = nil // what this machine finds out may not be what the cloud knows it by
	}
	if a.cfg.Server.Enabled {
		c.Facts.Port = int32(a.cfg.Server.Address.Port())
	}
	if a.api.heartbeat != nil {
		c.API, c.Watch = a.api.heartbeat, a.api.heartbeat
	}
	a.node.taints = &feed.Taints{File: filepath.Join(a.cfg.Agent.Root, "minikubelet", "taints.json")}
	a.node.agent = node.New(c)
	return nil
}

// addresses are the node's: what a cloud's controller has given it, else what was found here.
func (a *agent) addresses() []string {
	if a.cfg.Node.ExternalCloud {
		if out := node.InternalIPs(a.nodeObject()); len(out) > 0 {
			return out
		}
	}
	var out []string
	for _, ip := range a.host.ips {
		out = append(out, ip.String())
	}
	return out
}

// observeNode gathers what the Node's status rests on.
func (a *agent) observeNode(ctx context.Context) node.Observation {
	o := node.Observation{RuntimeVersion: a.host.runtime.String(), Images: a.images.listed.Get(ctx)}
	o.Runtime(a.node.monitor.Status())
	if n := a.network.ours(); n != nil {
		if err := n.Status(); err != nil {
			o.NotReady = append(o.NotReady, "pod network not ready: "+err.Error())
		}
	}
	inUse, err := a.local.csi.InUse()
	if err != nil {
		slog.Warn("cannot tell which volumes are in use", "err", err)
	}
	o.Volumes(inUse)
	o.Pressed(a.node.guard.Pressure())
	return o
}

// toldNode is nodeObject for the local API.
func (a *agent) toldNode() *v1.Node {
	if a.node.agent == nil {
		return a.nodeObject()
	}
	return a.node.agent.Told()
}

// token requests a service account token that is bound to the pod, and tells the pod of one that is over.
func (a *agent) token(ctx context.Context, p *v1.Pod, audience string, seconds int64) (string, time.Time, error) {
	token, ends, err := a.api.objects.PodToken(ctx, p, audience, seconds)
	if err == nil && time.Now().After(ends) {
		a.reports.events.Event(p, "", v1.EventTypeWarning, "TokenExpired", "the token of service account "+kube.AccountOf(p)+
			" is over since "+ends.UTC().Format(time.RFC3339)+" and the API server, which gives another, is away")
	}
	return token, ends, err
}

// maxPods is how many pods may run: maxPods, and no more than podsPerCore for each core.
func maxPods(n config.Node, cores int64) int64 {
	if n.PodsPerCore > 0 {
		return min(int64(n.MaxPods), int64(n.PodsPerCore)*cores)
	}
	return int64(n.MaxPods)
}
