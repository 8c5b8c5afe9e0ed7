package main

import (
	"context"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/podcert"
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
	a.local.cgroups, err = cgroups.New(cgroups.Config{
		Root: a.cfg.Cgroups.Root, Systemd: driver == string(cri.Systemd), CFS: a.cfs(),
		PodPIDs: a.cfg.Cgroups.PodPIDs, Capacity: a.host.machine.Cgroups(), Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	var reserved []v1.ResourceList
	if a.cfg.Cgroups.EnforceAllocatable {
		reserved = []v1.ResourceList{a.cfg.Cgroups.KubeReserved, a.cfg.Cgroups.SystemReserved}
	}
	if a.local.limits, err = resources.NodeCgroup(a.host.machine.Cgroups(), reserved...); err != nil {
		return err
	}
	if err = a.local.cgroups.EnsureNode(a.local.limits); err == nil {
		return nil
	}
	slog.Warn("cannot limit all pods together yet: it is tried again each minute", "err", err)
	return a.local.cgroups.EnsureNode(resources.CgroupValues{})
}

// cfs is how CPU limits are enforced.
func (a *agent) cfs() resources.CFS {
	return resources.CFS{Quota: a.cfg.Cgroups.CPUQuota, Period: a.cfg.Cgroups.CPUQuotaPeriod}
}

func (a *agent) wireVolumes(context.Context) error {
	var err error
	a.local.csi, err = csi.New(csi.Config{
		Root: a.cfg.Agent.Root, NodeName: a.host.name, Changed: func() { a.driversChanged() },
		Used: func() { a.node.agent.Poke() }, Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	vc := volumes.Config{
		Root: a.cfg.Agent.Root, NodeName: a.host.name, Objects: a.pods.objects, CSI: a.local.csi, Node: a.downward, Labels: a.nodeLabels,
		Event: a.reports.told.Event, Log: slog.Default(),
	}
	if a.api.objects != nil {
		a.api.issuer = podcert.New(podcert.Config{API: a.api.objects, Node: a.nodeObject, Event: a.reports.told.Event, Now: time.Now})
		vc.Token, vc.Trust, vc.Attaches, vc.Certify = a.token, a.api.objects, true, a.api.issuer.Bundle
	}
	if a.local.volumes, err = volumes.New(vc); err != nil {
		return err
	}
	if err := hostfs.Share(a.cfg.Agent.Root); err != nil {
		slog.Warn("mountPropagation has no effect below the root directory: reboot the node, or make its mount shared (mount --make-rshared)", "dir", a.cfg.Agent.Root, "err", err)
	}
	return nil
}

// driversChanged tells the Node and the pods that a CSI driver came or went: mounts may wait for it.
func (a *agent) driversChanged() {
	if a.node.agent != nil {
		a.node.agent.Poke()
	}
	if a.pods.set == nil {
		return
	}
	for _, p := range a.pods.set.Pods() {
		if volumes.MayBeCSI(p) {
			a.pods.set.Retry(p.UID)
		}
	}
}

func (a *agent) nodeLabels() map[string]string { return a.nodeObject().Labels }

func (a *agent) downward() downward.Node {
	d := downward.Node{IPs: a.addresses()}
	if a.node.agent != nil {
		d.Allocatable = a.node.agent.Node().Status.Allocatable
	}
	return d
}
