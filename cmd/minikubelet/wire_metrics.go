package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// meters are what the HTTPS API tells monitoring.
func (a *agent) meters() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /metrics":          a.reports.counters.Handler(),
		"GET /metrics/probes":   a.reports.counters.Probes(),
		"GET /metrics/resource": a.reports.meter.Resource(),
		"GET /metrics/cadvisor": a.reports.meter.Cadvisor(),
		"GET /stats/summary":    http.HandlerFunc(a.reports.meter.ServeSummary),
		"GET /stats/summary/":   http.HandlerFunc(a.reports.meter.ServeSummary),
	}
}

// wireMeters makes what measures when it is asked.
func (a *agent) wireMeters(context.Context) error {
	var up unix.Sysinfo_t
	if err := unix.Sysinfo(&up); err != nil {
		return fmt.Errorf("cannot read how long the machine is up: %w", err)
	}
	a.reports.meter = metrics.NewCollector(metrics.Config{
		Node: a.nodeObject, Pods: a.pods.set.Pods, Sandboxes: a.runtime.ListPodSandboxStats, Stats: a.node.usage, Volumes: a.local.volumes.Stats,
		Cgroup: a.local.cgroups.RootDir, V2: a.local.cgroups.V2(), Boot: time.Now().Add(-pod.Seconds(up.Uptime)),
	})
	ttl := func(of string, r *certs.Rotation) prometheus.Collector {
		return metrics.CertificateTTL(of, func() *tls.Certificate {
			if r == nil { // it is not the agent's to renew
				return nil
			}
			return r.Current()
		})
	}
	return a.reports.counters.Show(a.host.name, a.pods.set.Pods, a.reports.meter, ttl("client", a.api.rotation), ttl("server", a.api.serving))
}
