package main

import (
	"context"
	"log/slog"
	"path/filepath"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
)

// nodeParts are the Node and what its status rests on.
type nodeParts struct {
	agent   *node.Agent
	monitor *cri.Monitor
	taints  *feed.Taints
	cloud   bool     // a cloud's controller gives the addresses
	found   []string // the addresses that were found here
}

func (b base) newNode(api clients) nodeParts {
	set := b.cfg.Node
	c := node.Config{
		Register: set.Register,
		Registration: node.Registration{
			Name: b.host.name, Labels: set.Labels, Taints: set.Taints, ProviderID: set.ProviderID,
			Unschedulable: set.Unschedulable, ExternalCloud: set.ExternalCloud, ProvidedIPs: set.IPs,
		},
		Facts: node.Facts{
			Machine: b.host.machine, MaxPods: maxPods(set, b.host.machine.CPUs), IPs: b.host.ips, Hostname: b.host.name, Version: version,
			MaxImages: set.MaxImages, Cloud: set.ExternalCloud,
			Reserved: node.Reserved{Kube: b.cfg.Cgroups.KubeReserved, System: b.cfg.Cgroups.SystemReserved, EvictionHard: b.cfg.Eviction.Hard},
		},
		UpdateEvery: set.Intervals.Status, ReportEvery: set.Intervals.Report, Lease: set.Intervals.Lease,
	}
	if set.ExternalCloud && len(set.IPs) == 0 {
		c.Facts.IPs = nil // what this machine finds out may not be what the cloud knows it by
	}
	if b.cfg.Server.Enabled {
		c.Facts.Port = int32(b.cfg.Server.Address.Port())
	}
	if api.heartbeat != nil {
		c.API, c.Watch = api.heartbeat, api.heartbeat
	}
	return nodeParts{
		agent: node.New(c), monitor: cri.NewMonitor(b.runtime),
		taints: &feed.Taints{File: filepath.Join(b.cfg.Agent.Root, "minikubelet", "taints.json")},
		cloud:  set.ExternalCloud, found: texts(b.host.ips),
	}
}

// addresses are the node's: what a cloud's controller has given it, else what was found here.
func (n nodeParts) addresses() []string {
	if n.cloud {
		if out := node.InternalIPs(n.agent.Node()); len(out) > 0 {
			return out
		}
	}
	return n.found
}

// downward is what pods are told of the node.
func (n nodeParts) downward() downward.Node {
	return downward.Node{IPs: n.addresses(), Allocatable: n.agent.Node().Status.Allocatable}
}

// runNode keeps the Node true.
func (a *agent) runNode(ctx context.Context) {
	a.node.agent.Run(ctx, node.With{
		Observe: a.observeNode,
		Drivers: func() []storagev1.CSINodeDriver { return node.CSIDrivers(a.local.csi.Drivers()) },
		Changed: func() {
			a.reports.writer.Poke()
			a.changes.notify()
			a.node.taints.Keep(a.node.agent.Known(), a.node.agent.Node)
		},
		Event: func(n node.News) { a.reports.events.NodeEvent(n.Type, n.Reason, n.Message) },
	})
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
	o.Pressed(a.pressure.guard.Pressure())
	return o
}

// maxPods is how many pods may run: maxPods, and no more than podsPerCore for each core.
func maxPods(n config.Node, cores int64) int64 {
	if n.PodsPerCore > 0 {
		return min(int64(n.MaxPods), int64(n.PodsPerCore)*cores)
	}
	return int64(n.MaxPods)
}
