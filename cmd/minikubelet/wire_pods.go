package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencontainers/selinux/go-selinux"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/probes"
	"github.com/minikubelet/minikubelet/pkg/record"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/act"
	"github.com/minikubelet/minikubelet/pkg/sync/fuse"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
	"github.com/minikubelet/minikubelet/pkg/sync/observe"
	"github.com/minikubelet/minikubelet/pkg/sync/sweep"
	"github.com/minikubelet/minikubelet/pkg/userns"
)

// containerLogs is where log shippers look for the links to container logs.
const containerLogs = "/var/log/containers"

// podParts are the set of pods, what feeds it and what its loops work with.
type podParts struct {
	set      *loop.Set
	starts   *loop.Limit // pods that are being brought up at once
	feed     *feed.Feed
	objects  *objects.Store
	store    *record.Store
	observer *observe.Observer
	probes   *probes.Set
	users    *userns.Ranges
	sweeper  *sweep.Sweeper
	rotator  *logs.Rotator
	pulse    loop.Pulse
	changes  *broadcast // of any pod, or of the Node
	fuse     *fuse.Fuse // nil but in tests
}

// wirePods makes the set of pods, with what its loops work with.
func (a *agent) wirePods(context.Context) error {
	var err error
	a.pods.store, err = record.Open(filepath.Join(a.cfg.Agent.Root, "minikubelet", "records"))
	if err != nil {
		return err
	}
	if err := a.makeLogDirs(); err != nil {
		return err
	}
	if a.pods.users, err = userns.New(userns.Config{Pods: filepath.Join(a.cfg.Agent.Root, "pods")}); err != nil {
		return err
	}
	a.pods.observer = &observe.Observer{
		CRI: cri.NewObserver(a.runtime, logs.Tail, a.outOfMemory), Volumes: a.local.volumes, Cgroups: a.local.cgroups, Root: a.cfg.Agent.Root,
		Unclear: a.unclear,
	}
	a.node.monitor = cri.NewMonitor(a.runtime)
	a.pods.probes = probes.New(probes.Config{
		Probed: a.reports.counters.Probed,
		Exec:   execProbe(a.runtime), Events: a.reports.told.Event, Poke: func(uid types.UID) { a.pods.set.Poke(uid, false) },
		HostIP: func() string { return a.addresses()[0] }, Busy: a.pods.starts.Busy,
	})
	starts := activity.NewStarts(a.reports.counters)
	a.pods.set = loop.NewSet(&loop.Config{
		Observer: a.pods.observer, Actor: activity.CountedActor{To: a.executor(), Count: a.reports.counters, Starts: starts}, Records: a.pods.fuse.Records(a.pods.store), Prober: a.pods.probes,
		Reporter: &reporter{writer: a.reports.writer, runtime: a.pods.observer.CRI, api: a.api, changed: a.pods.changes.notify, starts: starts},
		Event:    a.reports.told.Event,
		Rejected: a.reports.counters.Rejected, Restarted: a.reports.counters.Restarted,
		Host: func() status.HostInfo {
			return status.HostInfo{
				Name: a.host.name, IPs: a.addresses(), Runtime: a.host.runtime.Name, RecursiveReadOnly: recursiveReadOnly(a.host.status),
			}
		},
		CrashLimit: a.cfg.Pods.MaxRestartDelay,
		CFS:        a.cfs(),
		Starts:     a.pods.starts, Stops: a.atOnce(), Boundary: a.pods.fuse.Boundary(),
	}, a.admit, a.resize)
	a.pods.sweeper = sweep.New(a.pods.set, a.pods.observer.CRI, a.local.volumes, a.local.cgroups)
	a.node.limiter = node.NewLimiter(node.LimiterConfig{
		Cgroups: a.local.cgroups, Limits: a.local.limits, Pods: a.pods.set.Pods, Changed: a.pods.changes.next, Event: a.reports.events.NodeEvent,
	})
	return nil
}

// unclear makes an event of a pod that waits because the runtime does not tell how it is.
func (a *agent) unclear(uid types.UID, err error) {
	slog.Warn("a pod waits: the container runtime does not tell how it is", "uid", uid, "err", err)
	if p := a.pods.set.Pod(uid); p != nil {
		a.reports.told.Event(p, "", v1.EventTypeWarning, "FailedSync", err.Error())
	}
}

// outOfMemory counts the processes of a pod that the kernel has killed for want of memory, as its cgroup knows.
func (a *agent) outOfMemory(uid string) int64 {
	n, err := a.local.cgroups.OOMKills(types.UID(uid))
	if err != nil {
		slog.Debug("cannot count a pod's OOM kills", "uid", uid, "err", err)
	}
	return n
}

func (a *agent) executor() *act.Executor {
	var services act.Services
	if a.api.services != nil {
		services = a.api.services
	}
	return act.New(act.Config{
		Services: services,
		Runtime:  a.runtime, Volumes: a.local.volumes, Cgroups: a.local.cgroups, Images: a.images.puller, Objects: a.pods.objects,
		Event: a.reports.told.Event, Node: a.downward,
		Repair: func(ctx context.Context, failure error) (bool, error) {
			return images.RepairSandboxImage(ctx, a.runtime, a.images.importer, failure)
		},
		Limits: cri.Node{
			Capacity: a.host.machine.Cgroups(), CFS: a.cfs(), CgroupV2: a.local.cgroups.V2(), LimitsSwap: a.local.cgroups.LimitsSwap(),
		},
		Paths: act.Paths{
			Root: a.cfg.Agent.Root, PodLogs: a.cfg.Pods.LogDir, ContainerLogs: containerLogs, ResolvConf: a.cfg.DNS.ResolvConf,
			Seccomp: a.images.seccomp,
		},
		DNS: act.DNS{Servers: texts(a.cfg.DNS.Servers), Domain: a.cfg.DNS.Domain},
		Runs: act.Features{
			SeccompDefault: a.cfg.Pods.SeccompDefault, RecursiveReadOnly: recursiveReadOnly(a.host.status), ImageVolumes: a.host.runtime.MountsImages(),
			SELinux: selinux.GetEnabled(), Handlers: a.host.status.Handlers, Users: a.pods.users,
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
	n := a.node.agent.Node()
	return resources.NodeFacts{
		Node: n, Allocatable: n.Status.Allocatable, KernelVersion: a.host.machine.Kernel,
		AllowedUnsafeSysctls: a.cfg.Pods.UnsafeSysctls, SupplementalGroupsPolicy: a.host.status.SupplementalGroupsPolicy,
		AppArmor: a.host.machine.AppArmor, Pressure: a.node.guard.Pressure(),
	}
}

// objectChanged wakes the loop of a pod, which brings volumes up to date with an object that it names, or waits for it.
func (a *agent) objectChanged(uid types.UID) {
	a.local.volumes.Changed(uid)
	a.pods.set.Retry(uid)
}
