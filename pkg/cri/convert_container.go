package cri

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Env is one environment variable with its final value.
type Env struct{ Name, Value string }

// Mount is one path of the host, or an image, in a container.
type Mount struct {
	HostPath       string
	ContainerPath  string // one that is not absolute is taken to begin at the root
	ReadOnly       bool
	RecursiveRO    bool // read-only with everything mounted below it; needs a handler with RecursiveReadOnly
	Relabel        bool // SELinux
	Propagation    v1.MountPropagationMode
	Image          string         // image volume: the image's ID, in place of HostPath
	ImageReference string         // as the pod names it
	ImageSubPath   string         // below the image's root
	UserNamespace  *UserNamespace // maps the owners of files into the pod's user namespace
}

// Device is a device node in a container.
type Device struct {
	HostPath, ContainerPath string
	Permissions             string // of r, w, m
}

// ContainerInput is all that a container's configuration is made from. What needs the node or the API to be known
// (variables, mounts, expanded commands) comes as values.
type ContainerInput struct {
	Pod            *v1.Pod
	Container      *v1.Container
	QOS            v1.PodQOSClass
	Attempt        uint32
	Image          pod.Image
	ImageUser      ImageUser
	Command, Args  []string // with $(VAR) expanded
	Env            []Env
	Mounts         []Mount
	Devices        []Device
	CDIDevices     []string
	ExtraGroups    []int64 // of volumes
	UserNamespace  *UserNamespace
	TargetID       string // ephemeral container: ID of the container whose processes it sees
	SeccompRoot    string // directory of Localhost profiles: <root-dir>/seccomp
	SeccompDefault bool   // RuntimeDefault where no profile is set
	Node           Node
}

// Container makes the configuration of a container. Its errors are faults of the specification: CreateContainerConfigError.
func Container(in ContainerInput) (*runtimeapi.ContainerConfig, error) {
	c := in.Container
	sec, err := security(in)
	if err != nil {
		return nil, fmt.Errorf("cannot set up container %s: %w", c.Name, err)
	}
	signal, err := stopSignal(c)
	if err != nil {
		return nil, fmt.Errorf("cannot set up container %s: %w", c.Name, err)
	}
	annotations, err := containerAnnotations(in.Pod, c, in.Attempt)
	if err != nil {
		return nil, fmt.Errorf("cannot set up container %s: %w", c.Name, err)
	}
	cfg := &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: in.Attempt},
		Image:       &runtimeapi.ImageSpec{Image: in.Image.ID, UserSpecifiedImage: c.Image},
		Command:     in.Command,
		Args:        in.Args,
		WorkingDir:  c.WorkingDir,
		Labels:      containerLabels(in.Pod, c),
		Annotations: annotations,
		LogPath:     ContainerLogPath(c.Name, in.Attempt),
		Stdin:       c.Stdin,
		StdinOnce:   c.StdinOnce,
		Tty:         c.TTY,
		StopSignal:  signal,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       LinuxResources(in.Pod, c, in.QOS, in.Node),
			SecurityContext: sec,
		},
	}
	for _, e := range in.Env {
		cfg.Envs = append(cfg.Envs, &runtimeapi.KeyValue{Key: e.Name, Value: []byte(e.Value)})
	}
	if cfg.Mounts, err = mounts(in.Pod, in.Mounts); err != nil {
		return nil, fmt.Errorf("cannot set up container %s: %w", c.Name, err)
	}
	for _, d := range in.Devices {
		cfg.Devices = append(cfg.Devices, &runtimeapi.Device{HostPath: d.HostPath, ContainerPath: d.ContainerPath, Permissions: d.Permissions})
	}
	for _, d := range in.CDIDevices {
		cfg.CDIDevices = append(cfg.CDIDevices, &runtimeapi.CDIDevice{Name: d})
	}
	return cfg, nil
}

func containerLabels(p *v1.Pod, c *v1.Container) map[string]string {
	return map[string]string{
		LabelPodName: p.Name, LabelPodNamespace: p.Namespace, LabelPodUID: string(p.UID), LabelContainerName: c.Name,
	}
}

func containerAnnotations(p *v1.Pod, c *v1.Container, attempt uint32) (map[string]string, error) {
	m := map[string]string{
		annotationHash:          pod.ContainerHash(c),
		annotationRestartCount:  strconv.FormatUint(uint64(attempt), 10),
		annotationMessagePath:   c.TerminationMessagePath,
		annotationMessagePolicy: string(c.TerminationMessagePolicy),
	}
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		m[annotationGracePeriod] = strconv.FormatInt(*s, 10)
	}
	if s := p.DeletionGracePeriodSeconds; s != nil {
		m[annotationDeletionGrace] = strconv.FormatInt(*s, 10)
	}
	if len(c.Ports) > 0 {
		b, err := json.Marshal(c.Ports)
		if err != nil {
			return nil, fmt.Errorf("cannot encode its ports: %w", err)
		}
		m[annotationPorts] = string(b)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		b, err := json.Marshal(c.Lifecycle.PreStop)
		if err != nil {
			return nil, fmt.Errorf("cannot encode its preStop hook: %w", err)
		}
		m[annotationPreStop] = string(b)
	}
	return m, nil
}

func mounts(p *v1.Pod, in []Mount) ([]*runtimeapi.Mount, error) {
	var out []*runtimeapi.Mount
	for _, m := range in {
		if m.RecursiveRO && !m.ReadOnly {
			return nil, fmt.Errorf("mount %s is recursively read-only and not read-only: set readOnly", m.ContainerPath)
		}
		r := &runtimeapi.Mount{
			ContainerPath: m.ContainerPath, HostPath: m.HostPath, Readonly: m.ReadOnly, SelinuxRelabel: m.Relabel,
			RecursiveReadOnly: m.RecursiveRO, ImageSubPath: m.ImageSubPath,
		}
		if !path.IsAbs(r.ContainerPath) {
			r.ContainerPath = path.Join("/", r.ContainerPath)
		}
		if m.Image != "" {
			r.Image = &runtimeapi.ImageSpec{Image: m.Image, UserSpecifiedImage: m.ImageReference, Annotations: p.Annotations}
		}
		switch m.Propagation {
		case v1.MountPropagationNone, "":
		case v1.MountPropagationHostToContainer:
			r.Propagation = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case v1.MountPropagationBidirectional:
			r.Propagation = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
		default:
			return nil, fmt.Errorf("mount %s: mountPropagation %q is none of None, HostToContainer, Bidirectional", m.ContainerPath, m.Propagation)
		}
		if m.UserNamespace != nil {
			r.UidMappings, r.GidMappings = idMappings(m.UserNamespace.UIDs), idMappings(m.UserNamespace.GIDs)
		}
		out = append(out, r)
	}
	return out, nil
}

// stopSignal is lifecycle.stopSignal (KEP-4960); without one the image's applies, else SIGTERM.
func stopSignal(c *v1.Container) (runtimeapi.Signal, error) {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return runtimeapi.Signal_RUNTIME_DEFAULT, nil
	}
	name := strings.NewReplacer("+", "PLUS", "-", "MINUS").Replace(string(*c.Lifecycle.StopSignal)) // SIGRTMIN+1
	s, ok := runtimeapi.Signal_value[name]
	if !ok || s == 0 {
		return 0, fmt.Errorf("lifecycle.stopSignal %q is no signal of Linux", *c.Lifecycle.StopSignal)
	}
	return runtimeapi.Signal(s), nil
}
