package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// meters are what the HTTPS API tells monitoring.
func (a *agent) meters() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /metrics":          a.counters.Handler(),
		"GET /metrics/probes":   a.counters.Probes(),
		"GET /metrics/resource": a.meter.Resource(),
		"GET /metrics/cadvisor": http.HandlerFunc(a.meter.ServeCadvisor),
		"GET /stats/summary":    http.HandlerFunc(a.meter.ServeSummary),
		"GET /stats/summary/":   http.HandlerFunc(a.meter.ServeSummary),
		"POST /stats/summary":   http.HandlerFunc(a.meter.ServeSummary),
	}
}

// newMeter makes what measures when it is asked.
func (b base) newMeter(n nodeParts, c rotations, l local, g pressure, p podParts) (*metrics.Collector, error) {
	var up unix.Sysinfo_t
	if err := unix.Sysinfo(&up); err != nil {
		return nil, fmt.Errorf("cannot read how long the machine is up: %w", err)
	}
	boot := time.Now().Add(-pod.Seconds(up.Uptime))
	meter := metrics.NewCollector(metrics.Config{
		Node: n.agent.Node, Pods: p.set.Pods, Sandboxes: b.runtime.ListPodSandboxStats, Images: b.imageUsage,
		Stats: g.usage, Volumes: l.volumes.Stats, Cgroups: l.cgroups, System: b.systemGroups(l.cgroups, boot),
		Classes: l.cgroups.ClassPaths(), Boot: boot,
	})
	if err := meter.Begin(); err != nil {
		slog.Warn("cannot measure the node: monitoring will lack it", "err", err)
	}
	more := []prometheus.Collector{meter}
	for of, r := range map[string]*certs.Rotation{"client": c.client, "server": c.serving} {
		more = append(more, activity.CertificateTTL(of, func() *tls.Certificate {
			if r == nil { // it is not the agent's to renew
				return nil
			}
			return r.Current()
		}))
		if r != nil {
			more = append(more, activity.CertificateErrors(of, r.Failures))
		}
	}
	return meter, b.counters.Show(activity.Facts{
		Node: b.host.name, CgroupV2: l.cgroups.V2(), Pods: p.set.Pods, Volumes: l.volumes.Observe, Collector: more,
	})
}

// imageUsage is what the runtime keeps: images, and the writable layers of containers. One that does not tell them apart has
// both in the same figure.
func (b base) imageUsage(ctx context.Context) (images, layers stats.Usage, err error) {
	i, l, err := b.runtime.ImageFilesystems(ctx)
	sum := func(all []cri.Filesystem) (u stats.Usage) {
		for _, f := range all {
			u.Bytes += int64(f.UsedBytes)
			u.Inodes += int64(f.InodesUsed)
		}
		return u
	}
	if len(l) == 0 {
		l = i
	}
	return sum(i), sum(l), err
}

// systemGroups finds the control groups of the agent, of the runtime and of all pods. The first two may have none of their
// own.
func (b base) systemGroups(tree *cgroups.Tree, boot time.Time) func() []metrics.SystemGroup {
	pods := tree.NodePath()
	return func() []metrics.SystemGroup {
		var out []metrics.SystemGroup
		for _, of := range []struct {
			name string
			pid  int
		}{{statsapi.SystemContainerKubelet, os.Getpid()}, {statsapi.SystemContainerRuntime, b.runtime.PID()}} {
			if path, err := tree.Of(of.pid); err == nil && path != "" {
				out = append(out, metrics.SystemGroup{Name: of.name, Path: path, Start: cgroupstat.Started(of.pid, boot)})
			}
		}
		return append(out, metrics.SystemGroup{Name: statsapi.SystemContainerPods, Path: pods, Start: cgroupstat.Made(tree.RootDir("memory") + pods)})
	}
}
