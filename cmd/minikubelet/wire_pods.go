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
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/probes"
	"github.com/minikubelet/minikubelet/pkg/record"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/status"
	"github.com/minikubelet/minikubelet/pkg/sync/act"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
	"github.com/minikubelet/minikubelet/pkg/sync/observe"
	"github.com/minikubelet/minikubelet/pkg/sync/sweep"
	"github.com/minikubelet/minikubelet/pkg/userns"
)

// containerLogs is where log shippers look for the links to container logs.
const containerLogs = "/var/log/containers"

// podParts are the set of pods, and what its loops work with.
type podParts struct {
	set       *loop.Set
	admission admission
	store     *record.Store
	observer  *observe.Observer
	probes    *probes.Set
	sweeper   *sweep.Sweeper
	limiter   *node.Limiter
}

func (b base) newPods(n nodeParts, o objectParts, i imageParts, l local, g pressure, r reports) (p podParts, err error) {
	if p.store, err = record.Open(filepath.Join(b.cfg.Agent.Root, "minikubelet", "records")); err != nil {
		return p, err
	}
	if err := b.makeLogDirs(); err != nil {
		return p, err
	}
	users, err := userns.New(userns.Config{Pods: filepath.Join(b.cfg.Agent.Root, "pods")})
	if err != nil {
		return p, err
	}
	p.admission = admission{base: b, node: n.agent, guard: g.guard}
	p.observer = &observe.Observer{CRI: cri.NewObserver(b.runtime, logs.Tail, l.outOfMemory), Volumes: l.volumes, Cgroups: l.cgroups, Root: b.cfg.Agent.Root}
	p.probes = probes.New(probes.Config{
		Exec: execProbe(b.runtime), Events: r.told.Event, Poke: b.wakes.Poke, HostIP: func() string { return n.addresses()[0] },
		Crowd: b.starts.Crowd, Probed: b.counters.Probed,
	})
	starts := activity.NewStarts(b.counters)
	p.set = loop.NewSet(&loop.Config{
		Wakes: b.wakes, Observer: p.observer, Records: b.fuse.Records(p.store), Prober: p.probes,
		Actor:    activity.CountedActor{To: act.New(b.acting(n, o, i, l, r, users)), Count: b.counters, Starts: starts},
		Reporter: &reporter{writer: r.writer, runtime: p.observer.CRI, objects: o, changed: b.changes.notify, starts: starts},
		Event:    r.told.Event, Rejected: b.counters.Rejected, Restarted: b.counters.Restarted,
		Host: func() status.HostInfo {
			return status.HostInfo{
				Name: b.host.name, IPs: n.addresses(), Runtime: b.host.runtime.Name, RecursiveReadOnly: recursiveReadOnly(b.host.status),
			}
		},
		CrashLimit: b.cfg.Pods.MaxRestartDelay, CFS: b.cfs(), Starts: b.starts, Stops: atOnce(b.cfg), Boundary: b.fuse.Boundary(),
	}, p.admission.admit, p.admission.resize)
	p.sweeper = sweep.New(p.set, p.observer.CRI, l.volumes, l.cgroups)
	p.limiter = node.NewLimiter(node.LimiterConfig{
		Cgroups: l.cgroups, Limits: l.limits, Pods: p.set.Pods, Changed: b.changes.next, Event: r.events.NodeEvent,
	})
	return p, nil
}

// acting is what the actions of pods are done with.
func (b base) acting(n nodeParts, o objectParts, i imageParts, l local, r reports, users *userns.Ranges) act.Config {
	c := act.Config{
		Runtime: b.runtime, Volumes: l.volumes, Cgroups: l.cgroups, Images: i.puller, Objects: o.store, Event: r.told.Event, Node: n.downward,
		Repair: func(ctx context.Context, failure error) (bool, error) {
			return images.RepairSandboxImage(ctx, b.runtime, i.importer, failure)
		},
		Limits: cri.Node{
			Capacity: b.host.machine.Cgroups(), CFS: b.cfs(), CgroupV2: l.cgroups.V2(), LimitsSwap: l.cgroups.LimitsSwap(),
		},
		Paths: act.Paths{
			Root: b.cfg.Agent.Root, PodLogs: b.cfg.Pods.LogDir, ContainerLogs: containerLogs, ResolvConf: b.cfg.DNS.ResolvConf,
			Seccomp: i.seccomp,
		},
		DNS: act.DNS{Servers: texts(b.cfg.DNS.Servers), Domain: b.cfg.DNS.Domain},
		Runs: act.Features{
			SeccompDefault: b.cfg.Pods.SeccompDefault, RecursiveReadOnly: recursiveReadOnly(b.host.status), ImageVolumes: b.host.runtime.MountsImages(),
			SELinux: selinux.GetEnabled(), Handlers: b.host.status.Handlers, Users: users,
		},
	}
	if o.services != nil {
		c.Services = o.services
	}
	return c
}

// outOfMemory counts the processes of a pod that the kernel has killed for want of memory, as its cgroup knows.
func (l local) outOfMemory(uid string) int64 {
	n, err := l.cgroups.OOMKills(types.UID(uid))
	if err != nil {
		slog.Debug("cannot count a pod's OOM kills", "uid", uid, "err", err)
	}
	return n
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

func (b base) makeLogDirs() error {
	var errs []error
	for _, d := range []string{b.cfg.Pods.LogDir, containerLogs} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			errs = append(errs, fmt.Errorf("cannot make the log directory: %w", err))
		}
	}
	return errors.Join(errs...)
}

// admission decides which pods may run here.
type admission struct {
	base
	node  *node.Agent
	guard *eviction.Guard
}

// admit decides whether a pod may run, beside those that do.
func (a admission) admit(running []*v1.Pod, p *v1.Pod) *pod.Verdict {
	return resources.Admit(a.facts(), running, p)
}

// resize decides whether a pod that runs may have other resources.
func (a admission) resize(others []*v1.Pod, p *v1.Pod) *pod.Reason {
	if !a.host.runtime.TellsResources() {
		return &pod.Reason{Reason: v1.PodReasonInfeasible,
			Message: "the container runtime does not tell what containers have: containerd 1.7 or newer is needed"}
	}
	return resources.Resize(a.facts(), others, p)
}

func (a admission) facts() resources.NodeFacts {
	n := a.node.Node()
	return resources.NodeFacts{
		Node: n, Allocatable: n.Status.Allocatable, KernelVersion: a.host.machine.Kernel,
		AllowedUnsafeSysctls: a.cfg.Pods.UnsafeSysctls, SupplementalGroupsPolicy: a.host.status.SupplementalGroupsPolicy,
		AppArmor: a.host.machine.AppArmor, Pressure: a.guard.Pressure(),
	}
}
