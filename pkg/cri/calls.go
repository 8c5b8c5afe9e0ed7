package cri

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// RunPodSandbox creates and starts a sandbox, its network included, within 4 minutes. Handler is a runtime handler, ""
// for the default one.
func (c *Client) RunPodSandbox(ctx context.Context, cfg *runtimeapi.PodSandboxConfig, handler string) (id string, err error) {
	r, err := call(ctx, operation{c, 2 * c.timeout, "run the pod sandbox"}, c.runtime.RunPodSandbox,
		&runtimeapi.RunPodSandboxRequest{Config: cfg, RuntimeHandler: handler})
	return r.GetPodSandboxId(), err
}

// StopPodSandbox kills what runs in a sandbox and releases its network. A sandbox that is gone is stopped.
func (c *Client) StopPodSandbox(ctx context.Context, id string) error {
	_, err := call(ctx, c.op("stop pod sandbox "+id), c.runtime.StopPodSandbox, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
	return ignoreNotFound(err)
}

// RemovePodSandbox removes a sandbox and its containers. A sandbox that is gone is removed.
func (c *Client) RemovePodSandbox(ctx context.Context, id string) error {
	_, err := call(ctx, c.op("remove pod sandbox "+id), c.runtime.RemovePodSandbox, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
	return ignoreNotFound(err)
}

// PodSandboxStatus is the runtime's full word on a sandbox.
func (c *Client) PodSandboxStatus(ctx context.Context, id string) (*runtimeapi.PodSandboxStatus, error) {
	r, err := call(ctx, c.op("ask for pod sandbox "+id), c.runtime.PodSandboxStatus, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	return r.GetStatus(), err
}

// ListPodSandboxes lists the sandboxes of one pod, or of all pods when uid is empty.
func (c *Client) ListPodSandboxes(ctx context.Context, uid string) ([]*runtimeapi.PodSandbox, error) {
	q := &runtimeapi.ListPodSandboxRequest{}
	if uid != "" {
		q.Filter = &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{LabelPodUID: uid}}
	}
	o := c.op("list pod sandboxes")
	r, err := call(ctx, o, c.runtime.ListPodSandbox, q)
	if err != nil {
		return nil, err
	}
	return ofPod(o, uid, r.Items, (*runtimeapi.PodSandbox).GetId)
}

// UpdatePodSandboxResources tells the runtime what all containers of a pod together, and the sandbox itself, will have: for one
// that puts a pod into a machine of its own. That it does not want to know is no error; containerd 2.2 has no code for that.
func (c *Client) UpdatePodSandboxResources(ctx context.Context, id string, r, overhead *Resources) error {
	_, err := call(ctx, c.op("update the resources of pod sandbox "+id), c.runtime.UpdatePodSandboxResources,
		&runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: id, Resources: r.cri(), Overhead: overhead.cri()})
	if errors.Is(err, ErrUnimplemented) || err != nil && strings.Contains(err.Error(), "not implemented") {
		return nil
	}
	return err
}

// CreateContainer makes a container in a sandbox; cfg and sandbox are what Container and Sandbox made.
func (c *Client) CreateContainer(ctx context.Context, sandboxID string, cfg *runtimeapi.ContainerConfig, sandbox *runtimeapi.PodSandboxConfig) (id string, err error) {
	r, err := call(ctx, c.op("create container "+cfg.GetMetadata().GetName()), c.runtime.CreateContainer,
		&runtimeapi.CreateContainerRequest{PodSandboxId: sandboxID, Config: cfg, SandboxConfig: sandbox})
	return r.GetContainerId(), err
}

// StartContainer starts a created container.
func (c *Client) StartContainer(ctx context.Context, id string) error {
	_, err := call(ctx, c.op("start container "+id), c.runtime.StartContainer, &runtimeapi.StartContainerRequest{ContainerId: id})
	return err
}

// StopContainer sends the container's stop signal and kills it when grace is over; the call returns once it has ended.
// Parts of a second count as a whole one; zero kills at once. A container that is gone is stopped.
func (c *Client) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	seconds := wholeSeconds(grace)
	_, err := call(ctx, operation{c, pod.Seconds(seconds) + c.timeout, "stop container " + id}, c.runtime.StopContainer,
		&runtimeapi.StopContainerRequest{ContainerId: id, Timeout: seconds})
	return ignoreNotFound(err)
}

// wholeSeconds rounds up, as a part of a second counts. No more than pod.Longest goes to a runtime, which makes a duration of
// the number again.
func wholeSeconds(d time.Duration) int64 {
	return int64((max(0, min(d, pod.Longest)) + time.Second - 1) / time.Second)
}

// RemoveContainer removes a container, killing it if it runs. A container that is gone is removed.
func (c *Client) RemoveContainer(ctx context.Context, id string) error {
	remove := func() error {
		_, err := call(ctx, c.op("remove container "+id), c.runtime.RemoveContainer, &runtimeapi.RemoveContainerRequest{ContainerId: id})
		return ignoreNotFound(err)
	}
	err := remove()
	if errors.Is(err, ErrPrecondition) && c.dropTask(ctx, id) == nil {
		err = remove()
	}
	return err
}

// ContainerStatus is the runtime's full word on a container.
func (c *Client) ContainerStatus(ctx context.Context, id string) (*runtimeapi.ContainerStatus, error) {
	r, err := call(ctx, c.op("ask for container "+id), c.runtime.ContainerStatus, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	return r.GetStatus(), err
}

// ListContainers lists the containers of one pod, or of all pods when uid is empty.
func (c *Client) ListContainers(ctx context.Context, uid string) ([]*runtimeapi.Container, error) {
	q := &runtimeapi.ListContainersRequest{}
	if uid != "" {
		q.Filter = &runtimeapi.ContainerFilter{LabelSelector: map[string]string{LabelPodUID: uid}}
	}
	o := c.op("list containers")
	r, err := call(ctx, o, c.runtime.ListContainers, q)
	if err != nil {
		return nil, err
	}
	return ofPod(o, uid, r.Containers, (*runtimeapi.Container).GetId)
}

// ListPodSandboxStats lists the usage of the sandboxes of all pods, their containers and networks included.
func (c *Client) ListPodSandboxStats(ctx context.Context) ([]*runtimeapi.PodSandboxStats, error) {
	r, err := call(ctx, c.op("list pod usage"), c.runtime.ListPodSandboxStats, &runtimeapi.ListPodSandboxStatsRequest{})
	if err != nil {
		return nil, err
	}
	for _, s := range r.Stats {
		if l := s.GetLinux(); l != nil {
			l.Containers = measured(l.Containers)
		}
	}
	return slices.DeleteFunc(r.Stats, func(s *runtimeapi.PodSandboxStats) bool { return s.GetAttributes().GetMetadata().GetUid() == "" }), nil
}

// ListContainerStats lists the usage of the containers of one pod, or of all pods when uid is empty.
func (c *Client) ListContainerStats(ctx context.Context, uid string) ([]*runtimeapi.ContainerStats, error) {
	q := &runtimeapi.ListContainerStatsRequest{}
	if uid != "" {
		q.Filter = &runtimeapi.ContainerStatsFilter{LabelSelector: map[string]string{LabelPodUID: uid}}
	}
	r, err := call(ctx, c.op("list container usage"), c.runtime.ListContainerStats, q)
	return measured(r.GetStats()), err
}

// UpdateContainerResources changes the cgroup values of a container in place.
func (c *Client) UpdateContainerResources(ctx context.Context, id string, r *runtimeapi.LinuxContainerResources) error {
	_, err := call(ctx, c.op("update the resources of container "+id), c.runtime.UpdateContainerResources,
		&runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: r})
	return err
}

// ReopenContainerLog makes the runtime open a container's log file anew, after it was renamed.
func (c *Client) ReopenContainerLog(ctx context.Context, id string) error {
	_, err := call(ctx, c.op("reopen the log of container "+id), c.runtime.ReopenContainerLog, &runtimeapi.ReopenContainerLogRequest{ContainerId: id})
	return err
}

// ExecResult is how a command in a container ended.
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int32
}

// ExecSync runs a command in a container and waits for it. Timeout is rounded up to seconds; zero means none but the
// context's. A command that is killed at its timeout gives ErrTimeout.
func (c *Client) ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (ExecResult, error) {
	seconds := wholeSeconds(timeout)
	limit := time.Duration(0)
	if seconds > 0 {
		limit = pod.Seconds(seconds) + execSlack
	}
	r, err := call(ctx, operation{c, limit, "run a command in container " + id}, c.runtime.ExecSync,
		&runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: cmd, Timeout: seconds})
	if err != nil {
		return ExecResult{}, err
	}
	return ExecResult{Stdout: r.Stdout, Stderr: r.Stderr, ExitCode: r.ExitCode}, nil
}

// Streams says which streams a session carries. A terminal has no separate stderr.
type Streams struct{ Stdin, Stdout, Stderr, TTY bool }

// Exec prepares a command in a container and returns the runtime's URL to stream it over.
func (c *Client) Exec(ctx context.Context, id string, cmd []string, s Streams) (url string, err error) {
	r, err := call(ctx, c.op("exec in container "+id), c.runtime.Exec, &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: cmd, Tty: s.TTY, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr && !s.TTY,
	})
	return r.GetUrl(), err
}

// Attach prepares a session with a container's first process and returns the runtime's URL to stream it over.
func (c *Client) Attach(ctx context.Context, id string, s Streams) (url string, err error) {
	r, err := call(ctx, c.op("attach to container "+id), c.runtime.Attach, &runtimeapi.AttachRequest{
		ContainerId: id, Tty: s.TTY, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr && !s.TTY,
	})
	return r.GetUrl(), err
}

// PortForward prepares a session with ports of a sandbox and returns the runtime's URL to stream it over.
func (c *Client) PortForward(ctx context.Context, sandboxID string, ports []int32) (url string, err error) {
	r, err := call(ctx, c.op("forward ports of pod sandbox "+sandboxID), c.runtime.PortForward,
		&runtimeapi.PortForwardRequest{PodSandboxId: sandboxID, Port: ports})
	return r.GetUrl(), err
}

// CheckpointContainer writes the state of a container to an archive at path (KEP-2008). Seconds are how long it may take,
// at least as long as any call.
func (c *Client) CheckpointContainer(ctx context.Context, id, path string, seconds int64) error {
	limit := max(pod.Seconds(seconds), c.timeout)
	_, err := call(ctx, operation{c, limit, "checkpoint container " + id}, c.runtime.CheckpointContainer, &runtimeapi.CheckpointContainerRequest{
		ContainerId: id, Location: path, Timeout: int64(limit / time.Second),
	})
	return err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
