package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/events"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/images/pulled"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/podcert"
	"github.com/minikubelet/minikubelet/pkg/probes"
	"github.com/minikubelet/minikubelet/pkg/record"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sources"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/status/writer"
	"github.com/minikubelet/minikubelet/pkg/sync/act"
	"github.com/minikubelet/minikubelet/pkg/sync/fuse"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
	"github.com/minikubelet/minikubelet/pkg/upkeep"
	"github.com/minikubelet/minikubelet/pkg/userns"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

// containerLogs is where log shippers look for the links to container logs.
const containerLogs = "/var/log/containers"

// agent is every part of the agent, made and not yet running.
type agent struct {
	cfg      config.Config
	host     host
	runtime  *cri.Client
	api      apiSide
	objects  *sources.Lookup
	events   *events.Recorder
	told     fuse.Teller // the recorder, for events of pods
	counters *metrics.Agent
	meter    *metrics.Collector
	node     *node.Agent
	writer   *writer.Writer

	monitor  *cri.Monitor
	observer *observer
	cgroups  *cgroups.Tree
	volumes  *volumes.Volumes
	csi      *csi.Node
	network  network
	puller   *images.PodPuller
	importer *images.Importer
	records  *pulled.Records // of who may use which image
	listed   *images.NodeList
	seccomp  string // the profile of sandboxes
	users    *userns.Ranges

	preloader *images.Preloader
	preloaded chan struct{} // closed after its first pass
	probes    *probes.Set
	set       *loop.Set
	starts    *loop.Limit // pods that are being brought up at once
	store     *record.Store
	feed      *feed.Feed
	taints    *feed.Taints
	refresher *upkeep.Refresher
	sweeper   *upkeep.Sweeper
	pulse     upkeep.Pulse
	guard     *eviction.Guard
	collector *images.Collector
	rotator   *logs.Rotator
	reload    func(context.Context) error // takes up a changed configuration when it is asked to
	configz   func() any                  // the configuration that is in force
	flagz     func() map[string]string    // the command line
	started   time.Time
	verbosity func(int) // changes how much is logged, until the next reload
	changes   *broadcast
	fuse      *fuse.Fuse // nil but in tests
}

// host is what is known of this machine once and for all.
type host struct {
	name    string
	ips     []netip.Addr
	machine node.Machine
	runtime cri.Version
	status  cri.Status // verbose
}

// wire makes the parts, each from the ones before it.
func wire(ctx context.Context, cfg config.Config, runtime *cri.Client, counters *metrics.Agent) (*agent, error) {
	a := &agent{cfg: cfg, runtime: runtime, counters: counters, changes: newBroadcast(), fuse: fuse.New(os.Getenv(fuse.Variable))}
	for _, step := range []func(context.Context) error{
		a.wireHost, a.wireAPI, a.wireCgroups, a.wireImages, a.wireNetwork, a.wireVolumes, a.wireNode, a.wirePods, a.wireFeed, a.wireBounds, a.wireGuard, a.wireMeters,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *agent) wireHost(ctx context.Context) error {
	var err error
	if a.host.name, err = node.HostName(a.cfg.Node.Name); err != nil {
		return err
	}
	interfaces, err := node.Interfaces()
	if err != nil {
		return err
	}
	if a.host.ips, err = node.PickAddresses(a.cfg.Node.IPs, interfaces); err != nil {
		// An API server cannot reach such a node. A standalone one runs its pods all the same, before any link is up.
		if a.cfg.API.Kubeconfig != "" || len(a.cfg.Node.IPs) > 0 {
			return err
		}
		a.host.ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		slog.Warn("the node goes by its loopback address until the agent is restarted", "err", err)
	}
	if a.host.machine, err = node.ReadMachine("/", a.cfg.Agent.Root); err != nil {
		return err
	}
	if a.host.runtime, err = a.runtime.Version(ctx); err != nil {
		return err
	}
	a.host.status, err = a.runtime.Status(ctx, true)
	return err
}

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
	a.objects = sources.NewLookup(a.api.objects)
	a.starts = a.atOnce()
	ec := events.Config{Node: a.nodeObject, Busy: a.starts.Busy, QPS: float64(a.cfg.API.EventQPS), Burst: a.cfg.API.EventBurst}
	wc := writer.Config{Node: a.nodeObject, Busy: a.starts.Busy}
	if a.api.client != nil {
		ec.API, wc.API = a.api.heartbeat, a.api.client
	}
	a.events, a.writer = events.New(ec), writer.New(wc)
	a.told = metrics.CountedEvents{To: a.fuse.Events(a.events), Count: a.counters}
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
	if a.node == nil {
		n := &v1.Node{}
		n.Name = a.host.name
		return n
	}
	return a.node.Node()
}

// objectChanged brings a pod's volumes up to date with an object that it names, and wakes its loop, which may wait for it.
func (a *agent) objectChanged(uid types.UID) {
	a.set.Retry(uid)
	a.refresher.Want(uid)
}

func (a *agent) wireCgroups(ctx context.Context) error {
	driver := a.cfg.Cgroups.Driver
	if told, err := a.runtime.CgroupDriver(ctx); err != nil {
		return err
	} else if told != "" {
		if driver != "" && driver != "auto" && driver != string(told) {
			slog.Warn("the runtime's cgroup driver goes before the configured one", "runtime", told, "configured", driver)
		}
		driver = string(told)
	}
	var err error
	a.cgroups, err = cgroups.New(cgroups.Config{
		Root: a.cfg.Cgroups.Root, Systemd: driver == string(cri.Systemd), CPUQuota: a.cfg.Cgroups.CPUQuota,
		Period: a.cfg.Cgroups.CPUQuotaPeriod, PodPIDs: a.cfg.Cgroups.PodPIDs, Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	if a.cfg.Cgroups.EnforceAllocatable {
		limits, err := resources.NodeCgroup(a.host.machine.CPUs, a.host.machine.Memory, a.cfg.Cgroups.KubeReserved, a.cfg.Cgroups.SystemReserved)
		if err != nil {
			return err
		}
		if err = a.cgroups.EnsureNode(limits); err == nil {
			return nil
		}
		slog.Warn("cannot limit all pods together to what is not reserved: they may use more", "err", err)
	}
	return a.cgroups.EnsureNode(resources.CgroupValues{})
}

func (a *agent) wireVolumes(context.Context) error {
	var err error
	a.csi, err = csi.New(csi.Config{
		Root: a.cfg.Agent.Root, NodeName: a.host.name, Changed: func() { a.driversChanged() },
		Used: func() { a.node.Poke() }, Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	vc := volumes.Config{
		Root: a.cfg.Agent.Root, NodeName: a.host.name, Objects: a.objects, CSI: a.csi, Node: a.downward, Labels: a.nodeLabels, Log: slog.Default(),
	}
	if a.api.objects != nil {
		a.api.issuer = podcert.New(podcert.Config{API: a.api.objects, Node: a.nodeObject, Event: a.told.Event, Now: time.Now})
		vc.Token, vc.Trust, vc.Attached, vc.Certify = a.token, a.api.objects, a.objects.Attached, a.api.issuer.Bundle
	}
	a.volumes, err = volumes.New(vc)
	return err
}

// driversChanged tells the Node and the pods that a CSI driver came or went: mounts may wait for it.
func (a *agent) driversChanged() {
	if a.node != nil {
		a.node.Poke()
	}
	if a.set != nil {
		a.set.Poke("", false)
	}
}

func (a *agent) nodeLabels() map[string]string { return a.nodeObject().Labels }

func (a *agent) downward() downward.Node {
	d := downward.Node{IPs: a.addresses()}
	if a.node != nil {
		d.Allocatable = a.node.Node().Status.Allocatable
	}
	return d
}

// wirePods makes the set of pods, with what its loops work with.
func (a *agent) wirePods(context.Context) error {
	var err error
	a.store, err = record.Open(filepath.Join(a.cfg.Agent.Root, "minikubelet", "records"))
	if err != nil {
		return err
	}
	if err := a.makeLogDirs(); err != nil {
		return err
	}
	if a.users, err = userns.New(userns.Config{Pods: filepath.Join(a.cfg.Agent.Root, "pods")}); err != nil {
		return err
	}
	a.observer = &observer{runtime: cri.NewObserver(a.runtime, logs.Tail, a.outOfMemory), volumes: a.volumes, cgroups: a.cgroups, root: a.cfg.Agent.Root}
	a.monitor = cri.NewMonitor(a.runtime)
	a.probes = probes.New(probes.Config{
		Probed: a.counters.Probed,
		Exec:   execProbe(a.runtime), Events: a.told.Event, Poke: func(uid types.UID) { a.set.Poke(uid, false) },
		HostIP: func() string { return a.addresses()[0] },
	})
	a.set = loop.NewSet(&loop.Config{
		Observer: a.observer, Actor: a.executor(), Records: a.fuse.Records(a.store), Prober: a.probes,
		Reporter: &reporter{writer: a.writer, runtime: a.observer.runtime, api: a.api, changed: a.changes.notify, starts: metrics.NewStarts(a.counters)},
		Event:    a.told.Event,
		Host: func() status.HostInfo {
			return status.HostInfo{
				Name: a.host.name, IPs: a.addresses(), Runtime: a.host.runtime.Name, RecursiveReadOnly: recursiveReadOnly(a.host.status),
			}
		},
		CrashLimit: a.cfg.Pods.MaxRestartDelay,
		CFS:        resources.CFS{Quota: a.cfg.Cgroups.CPUQuota, Period: a.cfg.Cgroups.CPUQuotaPeriod},
		Starts:     a.starts, Stops: a.atOnce(), Boundary: a.fuse.Boundary(),
	}, a.admit, a.resize)
	a.refresher = upkeep.NewRefresher(a.set, a.volumes)
	a.sweeper = upkeep.NewSweeper(a.set, a.observer.runtime, a.volumes, a.cgroups)
	return nil
}

// outOfMemory counts the processes of a pod that the kernel has killed for want of memory, as its cgroup knows.
func (a *agent) outOfMemory(uid string) int64 {
	n, err := a.cgroups.OOMKills(types.UID(uid))
	if err != nil {
		slog.Debug("cannot count a pod's OOM kills", "uid", uid, "err", err)
	}
	return n
}

func (a *agent) executor() *act.Executor {
	var services func(context.Context, ...string) ([]v1.Service, error)
	if a.api.services != nil {
		services = a.api.services.In
	}
	return act.New(act.Config{
		Services: services,
		Runtime:  a.runtime, Volumes: a.volumes, Cgroups: a.cgroups, Images: a.puller, Objects: a.objects,
		Event: a.told.Event, Node: a.downward,
		Repair: func(ctx context.Context, failure error) (bool, error) {
			return images.RepairSandboxImage(ctx, a.runtime, a.importer, failure)
		},
		Limits: cri.Node{
			MemoryCapacity: a.host.machine.Memory, CPUQuota: a.cfg.Cgroups.CPUQuota,
			CPUPeriod: a.cfg.Cgroups.CPUQuotaPeriod.Microseconds(), CgroupV2: a.cgroups.V2(),
			PageSizes: slices.Sorted(maps.Keys(a.host.machine.HugePages)),
		},
		Paths: act.Paths{
			Root: a.cfg.Agent.Root, PodLogs: a.cfg.Pods.LogDir, ContainerLogs: containerLogs, ResolvConf: a.cfg.DNS.ResolvConf,
			Seccomp: a.seccomp,
		},
		DNS: act.DNS{Servers: texts(a.cfg.DNS.Servers), Domain: a.cfg.DNS.Domain},
		Runs: act.Features{
			SeccompDefault: a.cfg.Pods.SeccompDefault, RecursiveReadOnly: recursiveReadOnly(a.host.status), ImageVolumes: a.host.runtime.MountsImages(),
			Handlers: a.host.status.Handlers, Class: a.objects.RuntimeClass, Users: a.users,
		},
	})
}

// recursiveReadOnly reports whether the default handler can do it.
func recursiveReadOnly(s cri.Status) bool {
	for _, h := range s.Handlers {
		if h.Name == "" {
			return h.RecursiveReadOnly
		}
	}
	return false
}

func texts(ips []netip.Addr) []string {
	var out []string
	for _, ip := range ips {
		out = append(out, ip.String())
	}
	return out
}

func (a *agent) makeLogDirs() error {
	var errs []error
	for _, d := range []string{a.cfg.Pods.LogDir, containerLogs} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			errs = append(errs, fmt.Errorf("cannot make the log directory: %w", err))
		}
	}
	return errors.Join(errs...)
}

// admit decides whether a pod may run here, beside those that do.
func (a *agent) admit(running []*v1.Pod, p *v1.Pod) *pod.Verdict {
	return resources.Admit(a.facts(), running, p)
}

// resize decides whether a pod that runs may have other resources.
func (a *agent) resize(others []*v1.Pod, p *v1.Pod) *pod.Reason {
	if !a.host.runtime.TellsResources() {
		return &pod.Reason{Reason: v1.PodReasonInfeasible,
			Message: "the container runtime does not tell what containers have: containerd 1.7 or newer is needed"}
	}
	return resources.Resize(a.facts(), others, p)
}

func (a *agent) facts() resources.NodeFacts {
	n := a.node.Node()
	return resources.NodeFacts{
		Node: n, Allocatable: n.Status.Allocatable, KernelVersion: a.host.machine.Kernel,
		AllowedUnsafeSysctls: a.cfg.Pods.UnsafeSysctls, SupplementalGroupsPolicy: a.host.status.SupplementalGroupsPolicy,
		AppArmor: a.host.machine.AppArmor, Pressure: a.guard.Pressure(),
	}
}

// network is the node's CNI as far as it is the agent's.
type network struct {
	node     *cni.Node // nil: the runtime's own
	settings cni.Settings
}
