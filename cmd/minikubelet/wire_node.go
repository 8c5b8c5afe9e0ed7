package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
)

// nodeParts are what registers the Node, and what its status and its pressure rest on.
type nodeParts struct {
	agent   *node.Agent
	monitor *cri.Monitor
	guard   *eviction.Guard
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
		Observe: a.observeNode, Drivers: a.drivers, Changed: func() {
			a.reports.writer.Poke()
			a.pods.changes.notify()
			a.node.taints.Keep(a.node.agent.Known(), a.node.agent.Node)
		},
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
	s := a.node.monitor.Status()
	o := node.Observation{RuntimeVersion: a.host.runtime.String(), Images: a.images.listed.Get(ctx)}
	if !s.Runtime.Ready {
		o.NotReady = append(o.NotReady, "container runtime is not ready: "+s.Runtime.Reason+": "+s.Runtime.Message)
	}
	if !s.Network.Ready {
		o.NotReady = append(o.NotReady, "container runtime network not ready: "+s.Network.Reason+": "+s.Network.Message)
	}
	if n := a.network.ours(); n != nil {
		if err := n.Status(); err != nil {
			o.NotReady = append(o.NotReady, "pod network not ready: "+err.Error())
		}
	}
	inUse, err := a.local.csi.InUse()
	if err != nil {
		slog.Warn("cannot tell which volumes are in use", "err", err)
	}
	for _, v := range inUse {
		o.VolumesInUse = append(o.VolumesInUse, v1.UniqueVolumeName("kubernetes.io/csi/"+v.Driver+"^"+v.Handle))
	}
	pressure := a.node.guard.Pressure()
	o.Pressure = node.Pressure{
		Memory: slices.Contains(pressure, v1.NodeMemoryPressure), Disk: slices.Contains(pressure, v1.NodeDiskPressure),
		PID: slices.Contains(pressure, v1.NodePIDPressure),
	}
	for _, h := range s.Handlers {
		o.Handlers = append(o.Handlers, v1.NodeRuntimeHandler{Name: h.Name, Features: &v1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: new(h.RecursiveReadOnly), UserNamespaces: new(h.UserNamespaces),
		}})
	}
	if s.SupplementalGroupsPolicy {
		o.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: new(true)}
	}
	return o
}

// drivers lists the CSI drivers of this node for its CSINode.
func (a *agent) drivers() []storagev1.CSINodeDriver {
	var out []storagev1.CSINodeDriver
	for _, d := range a.local.csi.Drivers() {
		n := storagev1.CSINodeDriver{Name: d.Name, NodeID: d.NodeID}
		for key := range d.Topology {
			n.TopologyKeys = append(n.TopologyKeys, key)
		}
		slices.Sort(n.TopologyKeys)
		if d.MaxVolumes > 0 {
			n.Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(d.MaxVolumes))}
		}
		out = append(out, n)
	}
	return out
}

// toldNode is nodeObject for the local API.
func (a *agent) toldNode() *v1.Node {
	if a.node.agent == nil {
		return a.nodeObject()
	}
	return a.node.agent.Told()
}

// token requests a service account token that is bound to the pod.
func (a *agent) token(ctx context.Context, p *v1.Pod, audience string, seconds int64) (string, time.Time, error) {
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(seconds),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID},
	}}
	if audience != "" {
		r.Spec.Audiences = []string{audience}
	}
	account := p.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	got, err := a.api.objects.Token(ctx, p.Namespace, account, r)
	if err != nil {
		return "", time.Time{}, err
	}
	if end := got.Status.ExpirationTimestamp.Time; time.Now().After(end) {
		a.reports.events.Event(p, "", v1.EventTypeWarning, "TokenExpired",
			"the token of service account "+account+" is over since "+end.UTC().Format(time.RFC3339)+" and the API server, which gives another, is away")
	}
	return got.Status.Token, got.Status.ExpirationTimestamp.Time, nil
}

// maxPods is how many pods may run: maxPods, and no more than podsPerCore for each core.
func maxPods(n config.Node, cores int64) int64 {
	if n.PodsPerCore > 0 {
		return min(int64(n.MaxPods), int64(n.PodsPerCore)*cores)
	}
	return int64(n.MaxPods)
}
