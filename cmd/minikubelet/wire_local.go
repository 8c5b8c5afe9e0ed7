package main

import (
	"context"
	"log/slog"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

// local is what pods have on this node besides what the runtime has of them.
type local struct {
	cgroups *cgroups.Tree
	limits  resources.CgroupValues // of all pods together
	volumes *volumes.Volumes
	csi     *csi.Node
}

func (b base) newLocal(ctx context.Context, n nodeParts, o objectParts, r reports) (l local, err error) {
	if l.cgroups, err = b.newCgroups(ctx); err != nil {
		return l, err
	}
	if l.limits, err = b.limit(l.cgroups); err != nil {
		return l, err
	}
	l.csi, err = csi.New(csi.Config{Root: b.cfg.Agent.Root, NodeName: b.host.name, Used: n.agent.Poke, Log: slog.Default(), Changed: func() {
		n.agent.Poke()
		b.wakes.RetryAll(volumes.MayBeCSI) // mounts may wait for a driver
	}})
	if err != nil {
		return l, err
	}
	vc := volumes.Config{
		Root: b.cfg.Agent.Root, NodeName: b.host.name, Objects: o.store, CSI: l.csi, Node: n.downward,
		Labels: func() map[string]string { return n.agent.Node().Labels }, Event: r.told.Event, Log: slog.Default(),
	}
	if o.api != nil {
		vc.Token, vc.Trust, vc.Attaches, vc.Certify = o.token, o.api, true, o.issuer.Bundle
	}
	if l.volumes, err = volumes.New(vc); err != nil {
		return l, err
	}
	if err := hostfs.Share(b.cfg.Agent.Root); err != nil {
		slog.Warn("mountPropagation has no effect below the root directory: reboot the node, or make its mount shared (mount --make-rshared)", "dir", b.cfg.Agent.Root, "err", err)
	}
	return l, nil
}

func (b base) newCgroups(ctx context.Context) (*cgroups.Tree, error) {
	driver := b.cfg.Cgroups.Driver
	if told, err := b.runtime.CgroupDriver(ctx); err != nil {
		return nil, err
	} else if told != "" {
		if driver != "" && driver != "auto" && driver != string(told) {
			slog.Warn("the runtime's cgroup driver goes before the configured one", "runtime", told, "configured", driver)
		}
		driver = string(told)
	}
	return cgroups.New(cgroups.Config{
		Root: b.cfg.Cgroups.Root, Systemd: driver == string(cri.Systemd), CFS: b.cfs(),
		PodPIDs: b.cfg.Cgroups.PodPIDs, Capacity: b.host.machine.Cgroups(), Log: slog.Default(),
	})
}

// limit makes the cgroup of all pods, and returns what it is limited to.
func (b base) limit(tree *cgroups.Tree) (resources.CgroupValues, error) {
	var reserved []v1.ResourceList
	if b.cfg.Cgroups.EnforceAllocatable {
		reserved = []v1.ResourceList{b.cfg.Cgroups.KubeReserved, b.cfg.Cgroups.SystemReserved}
	}
	limits, err := resources.NodeCgroup(b.host.machine.Cgroups(), reserved...)
	if err != nil {
		return limits, err
	}
	if err := tree.EnsureNode(limits); err == nil {
		return limits, nil
	} else {
		slog.Warn("cannot limit all pods together yet: it is tried again each minute", "err", err)
	}
	return limits, tree.EnsureNode(resources.CgroupValues{})
}

// cfs is how CPU limits are enforced.
func (b base) cfs() resources.CFS {
	return resources.CFS{Quota: b.cfg.Cgroups.CPUQuota, Period: b.cfg.Cgroups.CPUQuotaPeriod}
}
