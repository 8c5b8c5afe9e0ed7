package activity

import (
	"context"
	"errors"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// Actor does one action for a pod.
type Actor interface {
	Do(ctx context.Context, in plan.Input, a plan.Action) (*pod.Image, error)
}

// CountedActor has actions done, and counts them.
type CountedActor struct {
	To     Actor
	Count  *Counters
	Starts *Starts
}

// Do is the actor's.
func (c CountedActor) Do(ctx context.Context, in plan.Input, a plan.Action) (*pod.Image, error) {
	began := time.Now()
	image, err := c.To.Do(ctx, in, a)
	if a.Kind == plan.ImagePull {
		c.Starts.pulled(in.Desired.Pod, began, time.Now())
	}
	if ctx.Err() == nil { // what was called off says nothing
		c.Count.acted(in, a, time.Since(began), err)
	}
	return image, err
}

func (c *Counters) acted(in plan.Input, a plan.Action, took time.Duration, err error) {
	p := in.Desired.Pod
	switch a.Kind {
	case plan.CgroupCreate:
		c.cgroups.WithLabelValues("create").Observe(took.Seconds())
	case plan.PodResize:
		c.cgroups.WithLabelValues("update").Observe(took.Seconds())
	case plan.CgroupRemove:
		c.cgroups.WithLabelValues("destroy").Observe(took.Seconds())
	case plan.VolumeMount, plan.VolumeUnmount:
		kind := in.Observed.Mounts[a.Name].Kind // of one that is to be unmounted
		if kind == "" {
			kind = kindOf(p, a.Name)
		}
		c.mounted(a.Kind, kind, took, err)
	case plan.ImagePull, plan.ContainerStart:
		if err == nil {
			return
		}
		code := "RunContainerError"
		if e := (*pod.Error)(nil); errors.As(err, &e) && e.Class != "" {
			code = e.Class
		}
		c.pods.containerErrors.WithLabelValues(typeOf(p, a.Name), code).Inc()
	}
}

func (c *Counters) mounted(action plan.Kind, kind string, took time.Duration, err error) {
	status := "success"
	if err != nil {
		status = "fail-unknown"
	}
	c.storage.WithLabelValues(plugin(kind), strings.ReplaceAll(string(action), "-", "_"), status, "false").Observe(took.Seconds())
	if kind != "image" || action != plan.VolumeMount {
		return
	}
	c.images.requested.Inc()
	if err != nil {
		c.images.failed.Inc()
		return
	}
	c.images.mounted.Inc()
}

// plugin is a kind of volume as monitoring has it: kubernetes.io/empty-dir.
func plugin(kind string) string {
	switch kind {
	case "emptyDir":
		return "kubernetes.io/empty-dir"
	case "downwardAPI":
		return "kubernetes.io/downward-api"
	case "local":
		return "kubernetes.io/local-volume"
	case "hostPath":
		return "kubernetes.io/host-path"
	}
	return "kubernetes.io/" + strings.ToLower(kind)
}

// kindOf is the kind of a pod's volume. That of a claim is known when it is mounted; it is told as a claim's before.
func kindOf(p *v1.Pod, volume string) string {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Name != volume {
			continue
		}
		switch {
		case v.EmptyDir != nil:
			return "emptyDir"
		case v.ConfigMap != nil:
			return "configMap"
		case v.Secret != nil:
			return "secret"
		case v.Projected != nil:
			return "projected"
		case v.DownwardAPI != nil:
			return "downwardAPI"
		case v.HostPath != nil:
			return "hostPath"
		case v.CSI != nil:
			return "csi"
		case v.Image != nil:
			return "image"
		}
	}
	return "persistent-claim"
}
