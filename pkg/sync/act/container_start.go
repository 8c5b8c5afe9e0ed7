package act

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

// postStartLimit bounds a postStart hook, which has no time-out of its own: the container counts as not started so long.
const postStartLimit = 10 * time.Minute

// startContainer creates and starts a container, or starts one that was created before a crash.
func (e *Executor) startContainer(ctx context.Context, in plan.Input, a plan.Action) error {
	p := in.Desired.Pod
	c, role := pod.SpecOf(p, a.Name)
	if c == nil {
		return fmt.Errorf("cannot start container %s: the pod does not have it", a.Name)
	}
	id := a.ID
	if id == "" {
		if p.Generation > 1 { // its resources may have changed while nothing ran; if the pod's own cannot change now, the start tells
			if err := e.cfg.Cgroups.CreatePod(p); err != nil {
				slog.Debug("cannot set a pod's cgroup anew", "pod", pod.FullName(p), "uid", p.UID, "err", err)
			}
		}
		var err error
		if id, err = e.createContainer(ctx, in, a, c, role); err != nil {
			if ctx.Err() == nil && worthTelling(in.Failures[a.Key()], err) {
				e.cfg.Event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: "+err.Error())
			}
			return err
		}
		e.cfg.Event(p, c.Name, v1.EventTypeNormal, "Created", "Container created")
	}
	if err := e.cfg.Runtime.StartContainer(ctx, id); err != nil {
		if ctx.Err() == nil {
			e.cfg.Event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: "+err.Error())
		}
		return &pod.Error{Class: pod.RunContainerError, Err: err}
	}
	e.cfg.Event(p, c.Name, v1.EventTypeNormal, "Started", "Container started")
	return e.linkLog(p, c.Name, id, a.Attempt)
}

func (e *Executor) createContainer(ctx context.Context, in plan.Input, a plan.Action, c *v1.Container, role pod.Role) (string, error) {
	box, err := sandboxOf(in)
	if err != nil {
		return "", err
	}
	input, err := e.containerInput(ctx, in, a, c, role)
	if err != nil {
		class := pod.CreateContainerConfigError
		if _, ok := errors.AsType[*pod.Error](err); ok { // of the image of a volume, which had to be pulled again
			class = pod.CreateContainerError
		}
		return "", &pod.Error{Class: class, Err: err}
	}
	cfg, err := cri.Container(input)
	if err != nil {
		return "", &pod.Error{Class: pod.CreateContainerConfigError, Err: err}
	}
	sandbox, err := e.sandboxConfig(in.Desired.Pod, box.Attempt)
	if err != nil {
		return "", &pod.Error{Class: pod.CreateContainerConfigError, Err: err}
	}
	if err := e.makeLogDir(in.Desired.Pod, c.Name); err != nil {
		return "", &pod.Error{Class: pod.CreateContainerConfigError, Err: err}
	}
	id, err := e.cfg.Runtime.CreateContainer(ctx, box.ID, cfg, sandbox)
	if err != nil {
		return "", &pod.Error{Class: pod.CreateContainerError, Err: err}
	}
	return id, nil
}

// containerInput gathers the values that a container's configuration is made from.
func (e *Executor) containerInput(ctx context.Context, in plan.Input, a plan.Action, c *v1.Container, role pod.Role) (cri.ContainerInput, error) {
	p := in.Desired.Pod
	ips := e.addresses(in)
	s := self{pod: p, podIPs: ips, node: e.cfg.Node(), volumes: filepath.Join(e.podDir(p), "volumes", "kubernetes.io~empty-dir")}
	var err error
	if s.services, err = e.services(ctx, p); err != nil {
		return cri.ContainerInput{}, err
	}
	env, skipped, err := environment(ctx, e.cfg.Objects.For(s.pod), s, c)
	if err != nil {
		return cri.ContainerInput{}, err
	}
	if len(skipped) > 0 && in.Failures[a.Key()].Count == 0 {
		e.cfg.Event(p, c.Name, v1.EventTypeWarning, "InvalidEnvironmentVariableNames", skippedText(skipped))
	}
	input := cri.ContainerInput{
		Pod: p, Container: c, QOS: resources.QOSClass(p), Attempt: a.Attempt, Image: in.Observed.Images[c.Name],
		Command: expandAll(c.Command, env), Args: expandAll(c.Args, env), Node: e.cfg.Limits, ExtraGroups: e.cfg.Volumes.Groups(p),
		SeccompRoot: filepath.Join(e.cfg.Paths.Root, "seccomp"), SeccompDefault: e.cfg.Runs.SeccompDefault,
	}
	for _, name := range env.names {
		input.Env = append(input.Env, cri.Env{Name: name, Value: env.values[name]})
	}
	if input.ImageUser, err = e.imageUser(ctx, p, c, input.Image.ID); err != nil {
		return input, err
	}
	if role == pod.Ephemeral {
		if input.TargetID, err = target(in, c.Name); err != nil {
			return input, err
		}
	}
	if input.Mounts, err = e.mounts(ctx, p, c, env, ips, a.Attempt); err != nil {
		return input, err
	}
	if input.UserNamespace, err = e.users(p); err != nil {
		return input, err
	}
	for i := range input.Mounts { // their owners are the pod's own users, not those of its range
		input.Mounts[i].UserNamespace = input.UserNamespace
	}
	input.Devices, err = e.devices(p, c)
	return input, err
}

// target is the running container whose processes an ephemeral container asks to see.
func target(in plan.Input, name string) (string, error) {
	for _, ec := range in.Desired.Pod.Spec.EphemeralContainers {
		if ec.Name != name || ec.TargetContainerName == "" {
			continue
		}
		c := in.Observed.Container(ec.TargetContainerName)
		if c == nil || c.State != pod.ContainerRunning {
			return "", fmt.Errorf("cannot share the processes of target container %s: it does not run", ec.TargetContainerName)
		}
		return c.ID, nil
	}
	return "", nil
}

// imageUser asks for the image's own user where the specification wants to know that it is not root.
func (e *Executor) imageUser(ctx context.Context, p *v1.Pod, c *v1.Container, image string) (cri.ImageUser, error) {
	nonRoot := p.Spec.SecurityContext != nil && p.Spec.SecurityContext.RunAsNonRoot != nil ||
		c.SecurityContext != nil && c.SecurityContext.RunAsNonRoot != nil
	user := p.Spec.SecurityContext != nil && p.Spec.SecurityContext.RunAsGroup != nil ||
		c.SecurityContext != nil && c.SecurityContext.RunAsGroup != nil
	if !nonRoot && !user {
		return cri.ImageUser{}, nil
	}
	i, err := e.cfg.Runtime.ImageStatus(ctx, image)
	if err != nil {
		return cri.ImageUser{}, err
	}
	if i == nil {
		return cri.ImageUser{}, fmt.Errorf("image %s is gone from the runtime", image)
	}
	return cri.ImageUser{UID: i.UID, Name: i.Username}, nil
}

// mounts are the container's volumes, its hosts file and its termination message file.
func (e *Executor) mounts(ctx context.Context, p *v1.Pod, c *v1.Container, env *variables, ips []string, attempt uint32) ([]cri.Mount, error) {
	vols, err := e.cfg.Volumes.ContainerMounts(ctx, p, c, env.lookup)
	if err != nil {
		return nil, err
	}
	var out []cri.Mount
	own := true
	for _, v := range vols {
		own = own && filepath.Clean(v.ContainerPath) != etcHosts
		m, err := e.volumeMount(ctx, p, v)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if own {
		path, err := e.hosts(p, ips)
		if err != nil {
			return nil, err
		}
		out = append(out, cri.Mount{HostPath: path, ContainerPath: etcHosts, Relabel: e.cfg.Runs.SELinux})
	}
	if c.TerminationMessagePath != "" {
		m, err := e.terminationMount(p, c, attempt)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// devices are the container's block volumes. A container may make further nodes of a device that it has (m).
func (e *Executor) devices(p *v1.Pod, c *v1.Container) ([]cri.Device, error) {
	vols, err := e.cfg.Volumes.ContainerDevices(p, c)
	if err != nil {
		return nil, err
	}
	var out []cri.Device
	for _, d := range vols {
		permissions := "mrw"
		if d.ReadOnly {
			permissions = "r"
		}
		out = append(out, cri.Device{HostPath: d.HostPath, ContainerPath: d.ContainerPath, Permissions: permissions})
	}
	return out, nil
}

// volumeMount is a volume's mount in CRI's terms. The image of an image volume was made present when the volume was set up;
// one that was removed since is made present again.
func (e *Executor) volumeMount(ctx context.Context, p *v1.Pod, v volumes.Mount) (cri.Mount, error) {
	m := cri.Mount{
		HostPath: v.HostPath, ContainerPath: v.ContainerPath, ReadOnly: v.ReadOnly, Relabel: v.SELinuxRelabel && e.cfg.Runs.SELinux,
		Propagation: v.Propagation, ImageSubPath: v.ImageSubPath,
	}
	rro := e.cfg.Runs.RecursiveReadOnly
	switch v.RecursiveReadOnly {
	case v1.RecursiveReadOnlyEnabled:
		if !rro { // older runtimes would mount it without a word
			return m, fmt.Errorf("cannot mount volume %s recursively read-only: the container runtime cannot do it; "+
				"use recursiveReadOnly: IfPossible, or upgrade the runtime", v.Volume)
		}
		m.RecursiveRO = true
	case v1.RecursiveReadOnlyIfPossible:
		m.RecursiveRO = rro && v.ReadOnly && v.Propagation != v1.MountPropagationHostToContainer && v.Propagation != v1.MountPropagationBidirectional
	}
	if v.Image == nil {
		return m, nil
	}
	m.ImageReference = v.Image.Reference
	image, err := e.cfg.Runtime.ImageStatus(ctx, v.Image.Reference)
	if err != nil {
		return m, err
	}
	if image != nil {
		m.Image = image.ID
		return m, nil
	}
	got, err := e.cfg.Images.EnsureVolume(ctx, p, v.Image)
	m.Image = got.ID
	return m, err
}

func (e *Executor) hosts(p *v1.Pod, ips []string) (string, error) {
	var node []byte
	if p.Spec.HostNetwork {
		var err error
		if node, err = os.ReadFile(etcHosts); err != nil {
			return "", fmt.Errorf("cannot read the node's hosts file: %w", err)
		}
	}
	return e.writeHosts(e.podDir(p), hostsFile(p, ips, cri.Hostname(p), domain(p, e.cfg.DNS.Domain), node))
}

// terminationMount makes the file that a container may leave its last words in; any user in the container may write it.
func (e *Executor) terminationMount(p *v1.Pod, c *v1.Container, attempt uint32) (cri.Mount, error) {
	dir := filepath.Join(e.podDir(p), "containers", c.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return cri.Mount{}, fmt.Errorf("cannot make the container's directory: %w", err)
	}
	path := filepath.Join(dir, strconv.FormatUint(uint64(attempt), 10))
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return cri.Mount{}, fmt.Errorf("cannot make the termination message file: %w", err)
	}
	return cri.Mount{HostPath: path, ContainerPath: cri.MessagePath(c.TerminationMessagePath), Relabel: e.cfg.Runs.SELinux}, os.Chmod(path, 0o666)
}

// linkLog makes the link in /var/log/containers by which log shippers find the log.
func (e *Executor) linkLog(p *v1.Pod, name, id string, attempt uint32) error {
	log := filepath.Join(cri.PodLogDir(e.cfg.Paths.PodLogs, p), cri.ContainerLogPath(name, attempt))
	return logs.Link(e.cfg.Paths.ContainerLogs, logs.LinkName(p.Name, p.Namespace, name, id), log)
}

// postStart runs a container's postStart hook.
func (e *Executor) postStart(ctx context.Context, in plan.Input, a plan.Action) error {
	p := in.Desired.Pod
	c, _ := pod.SpecOf(p, a.Name)
	if c == nil || c.Lifecycle == nil || c.Lifecycle.PostStart == nil {
		return nil
	}
	hctx, cancel := context.WithTimeout(ctx, postStartLimit)
	defer cancel()
	err := e.hook(hctx, c.Lifecycle.PostStart, hooked{p, c, a.ID, primary(e.addresses(in))})
	if err != nil && ctx.Err() == nil {
		e.cfg.Event(p, c.Name, v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: "+err.Error())
	}
	return err
}
