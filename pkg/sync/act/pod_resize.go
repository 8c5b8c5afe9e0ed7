package act

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// resizePod sets the values of the pod's cgroup and of its running containers. No container may have more than its pod: the
// pod's are set before, for what grows, and again afterwards, for what shrinks. The runtime is told first, and may refuse.
func (e *Executor) resizePod(ctx context.Context, in plan.Input) error {
	p := in.Desired.Pod
	if _, again := in.Failures[plan.Action{Kind: plan.PodResize}.Key()]; !again {
		e.cfg.Event(p, "", v1.EventTypeNormal, "ResizeStarted", resizeText("started", p, nil))
	}
	if box := in.Observed.Sandbox(); box != nil && box.Ready {
		if err := e.cfg.Runtime.UpdatePodSandboxResources(ctx, box.ID, e.sandboxResources(p), e.overhead(p)); err != nil {
			e.cfg.Event(p, "", v1.EventTypeWarning, "ResizeError", resizeText("error", p, err))
			return err
		}
	}
	before := e.cfg.Cgroups.CreatePod(p)
	errs := e.resizeContainers(ctx, in)
	if err := errors.Join(errs...); err != nil {
		err = errors.Join(err, before)
		e.cfg.Event(p, "", v1.EventTypeWarning, "ResizeError", resizeText("error", p, err))
		return err
	}
	if err := e.cfg.Cgroups.CreatePod(p); err != nil {
		e.cfg.Event(p, "", v1.EventTypeWarning, "ResizeError", resizeText("error", p, err))
		return err
	}
	e.cfg.Event(p, "", v1.EventTypeNormal, "ResizeCompleted", resizeText("completed", p, nil))
	return nil
}

func (e *Executor) resizeContainers(ctx context.Context, in plan.Input) (errs []error) {
	usage, err := e.cfg.Runtime.ListContainerStats(ctx, string(in.Desired.Pod.UID))
	if err != nil {
		return []error{err}
	}
	for role, c := range pod.Spec(in.Desired.Pod) {
		o := in.Observed.Container(c.Name)
		if o == nil || o.State != pod.ContainerRunning {
			continue
		}
		if differs, restart := plan.Resized(in.Desired.Pod, role, c, o.Resources, e.cfg.Limits.CFS); !differs || restart {
			continue
		}
		r := cri.LinuxResources(in.Desired.Pod, c, resources.QOSClass(in.Desired.Pod), e.cfg.Limits)
		if used := usedMemory(usage, o.ID); r.MemoryLimitInBytes > 0 && used > r.MemoryLimitInBytes {
			errs = append(errs, fmt.Errorf("container %s uses %d bytes of memory, more than its new limit of %d: the limit is set when it uses less",
				c.Name, used, r.MemoryLimitInBytes))
			continue
		}
		// Nothing else of a container changes while it runs.
		errs = append(errs, e.cfg.Runtime.UpdateContainerResources(ctx, o.ID, &runtimeapi.LinuxContainerResources{
			CpuShares: r.CpuShares, CpuQuota: r.CpuQuota, CpuPeriod: r.CpuPeriod,
			MemoryLimitInBytes: r.MemoryLimitInBytes, MemorySwapLimitInBytes: r.MemorySwapLimitInBytes,
		}))
	}
	return errs
}

// resizeText tells of a resize as a kubelet does, so that what reads its events can read these: with the resources of the
// containers, and the generation of the pod that asks for them.
func resizeText(what string, p *v1.Pod, err error) string {
	type container struct {
		Name      string                  `json:"name"`
		Resources v1.ResourceRequirements `json:"resources"`
	}
	said := struct {
		InitContainers []container `json:"initContainers,omitempty"`
		Containers     []container `json:"containers,omitempty"`
		Generation     int64       `json:"generation"`
		Error          string      `json:"error,omitempty"`
	}{Generation: p.Generation}
	for _, c := range p.Spec.InitContainers {
		said.InitContainers = append(said.InitContainers, container{c.Name, c.Resources})
	}
	for _, c := range p.Spec.Containers {
		said.Containers = append(said.Containers, container{c.Name, c.Resources})
	}
	if err != nil {
		said.Error = err.Error()
	}
	text := "Pod resize " + what
	if b, err := json.Marshal(said); err == nil {
		text += ": " + string(b)
	}
	return text
}

// usedMemory is a container's working set in bytes, as far as the runtime tells it.
func usedMemory(stats []*runtimeapi.ContainerStats, id string) int64 {
	for _, s := range stats {
		if s.GetAttributes().GetId() == id {
			return int64(s.GetMemory().GetWorkingSetBytes().GetValue())
		}
	}
	return 0
}
