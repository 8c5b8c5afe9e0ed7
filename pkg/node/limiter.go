package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

const (
	limitAgain = time.Minute            // as a kubelet does, whatever has changed
	limitRest  = 100 * time.Millisecond // between two changes: many pods come and go at once
)

// Cgroups are those above the pods.
type Cgroups interface {
	EnsureNode(limits resources.CgroupValues) error
	SetClasses(pods []*v1.Pod) error
}

// LimiterConfig is what a Limiter works with.
type LimiterConfig struct {
	Cgroups Cgroups
	Limits  resources.CgroupValues // of all pods together
	Pods    func() []*v1.Pod       // of the node, with their latest status
	Changed func() <-chan struct{} // closed when a pod has changed
	Event   func(typ, reason, message string)
}

// Limiter keeps the cgroups above the pods in line with the pods that are on the node.
type Limiter struct {
	cfg     LimiterConfig
	limited bool  // all pods together are
	shares  int64 // of burstable pods, as last set
	failed  string
}

// NewLimiter makes a limiter; Run does its work.
func NewLimiter(cfg LimiterConfig) *Limiter { return &Limiter{cfg: cfg} }

// Run sets what has changed at once, and everything again each minute, until ctx ends.
func (l *Limiter) Run(ctx context.Context) {
	again := time.NewTicker(limitAgain)
	defer again.Stop()
	for all := true; ; {
		changed := l.cfg.Changed()
		l.limit(all)
		kube.Sleep(ctx, limitRest)
		select {
		case <-ctx.Done():
			return
		case <-changed:
			all = false
		case <-again.C:
			all = true
		}
	}
}

func (l *Limiter) limit(all bool) {
	if all && !l.limited {
		l.limitNode()
	}
	var live []*v1.Pod
	for _, p := range l.cfg.Pods() {
		if !pod.IsOver(p) {
			live = append(live, p)
		}
	}
	shares := resources.ClassCgroup(v1.PodQOSBurstable, live, resources.Capacity{}).CPUShares
	if !all && shares == l.shares {
		return
	}
	err := l.cfg.Cgroups.SetClasses(live)
	if err == nil {
		l.shares, l.failed = shares, ""
		return
	}
	l.shares = 0
	if said := err.Error(); said != l.failed {
		l.failed = said
		slog.Warn("cannot give burstable pods the CPU weight of what they request: it is tried again each minute", "err", err)
	}
}

// limitNode is tried until it succeeds: pods that use more than the limit must be evicted first.
func (l *Limiter) limitNode() {
	err := l.cfg.Cgroups.EnsureNode(l.cfg.Limits)
	if l.limited = err == nil; l.limited {
		l.cfg.Event(v1.EventTypeNormal, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
		return
	}
	l.cfg.Event(v1.EventTypeWarning, "FailedNodeAllocatableEnforcement", fmt.Sprintf("Failed to update Node Allocatable Limits: %v", err))
}
