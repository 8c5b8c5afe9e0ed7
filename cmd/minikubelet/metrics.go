package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

// meters are what the HTTPS API tells monitoring.
func (a *agent) meters() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /metrics":          a.counters.Handler(),
		"GET /metrics/probes":   a.counters.Probes(),
		"GET /metrics/resource": a.meter.Resource(),
		"GET /metrics/cadvisor": a.meter.Cadvisor(),
		"GET /stats/summary":    http.HandlerFunc(a.meter.ServeSummary),
		"GET /stats/summary/":   http.HandlerFunc(a.meter.ServeSummary),
	}
}

// wireMeters makes what measures when it is asked.
func (a *agent) wireMeters(ctx context.Context) error {
	var up unix.Sysinfo_t
	if err := unix.Sysinfo(&up); err != nil {
		return fmt.Errorf("cannot read how long the machine is up: %w", err)
	}
	a.meter = metrics.NewCollector(metrics.Config{
		Node: a.nodeObject, Pods: a.set.Pods, Sandboxes: a.runtime.ListPodSandboxStats, Stats: stats.New(a.measured(ctx)), Volumes: a.volumes.Stats,
		Cgroup: a.cgroups.RootDir, V2: a.cgroups.V2(), Boot: time.Now().Add(-time.Duration(up.Uptime) * time.Second),
	})
	ttl := func(of string, r *certs.Rotation) prometheus.Collector {
		return metrics.CertificateTTL(of, func() *tls.Certificate {
			if r == nil { // it is not the agent's to renew
				return nil
			}
			return r.Current()
		})
	}
	return a.counters.Show(a.host.name, a.set.Pods, a.meter, ttl("client", a.api.rotation), ttl("server", a.api.serving))
}

// counted tells events on, and counts them.
type counted struct {
	teller
	counters *metrics.Agent
}

func (c counted) Event(p *v1.Pod, container, typ, reason, message string) {
	c.teller.Event(p, container, typ, reason, message)
	c.counters.Event(typ, reason)
	if reason != "Started" || container == "" {
		return
	}
	kind := "container"
	switch _, role := pod.SpecOf(p, container); role {
	case pod.Init, pod.Sidecar:
		kind = "init_container"
	case pod.Ephemeral:
		kind = "ephemeral_container"
	}
	c.counters.Started(kind)
}

// starts measures how long pods take from when they are first seen until they run.
type starts struct {
	counters *metrics.Agent

	mu   sync.Mutex
	seen map[types.UID]time.Time // pods that did not run yet
}

func newStarts(c *metrics.Agent) *starts {
	return &starts{counters: c, seen: map[types.UID]time.Time{}}
}

func (s *starts) report(p *v1.Pod, phase v1.PodPhase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, waits := s.seen[p.UID]
	switch {
	case phase == v1.PodPending && !waits:
		s.seen[p.UID] = time.Now()
	case phase != v1.PodPending && waits:
		delete(s.seen, p.UID)
		if phase == v1.PodRunning {
			s.counters.PodStarted(time.Since(since))
		}
	}
}

func (s *starts) forget(p *v1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, p.UID)
	s.counters.Forget(p)
}
