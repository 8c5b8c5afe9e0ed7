package act

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/cgroups"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
	"github.com/minikubelet/minikubelet/pkg/userns"
	"github.com/minikubelet/minikubelet/pkg/volumes"
)

// Cgroups makes and removes the cgroups of pods.
type Cgroups interface {
	CreatePod(p *v1.Pod) error
	RemovePod(uid types.UID) error
	KillPod(uid types.UID) (killed int, err error)
	Parent(p *v1.Pod) string // for the runtime; "" leaves it to the runtime
}

// Images makes images present.
type Images interface {
	Ensure(ctx context.Context, p *v1.Pod, c *v1.Container, attempt uint32) (pod.Image, error)
	EnsureVolume(ctx context.Context, p *v1.Pod, v *v1.ImageVolumeSource) (pod.Image, error)
	Present(ctx context.Context, p *v1.Pod, ref string, policy v1.PullPolicy) (bool, error)
}

// Paths are the directories that an executor writes to.
type Paths struct {
	Root          string // /var/lib/kubelet
	PodLogs       string // /var/log/pods
	ContainerLogs string // /var/log/containers
	ResolvConf    string // the file that dnsPolicy Default hands on; "" hands on nothing
	Seccomp       string // the profile of sandboxes; "": the runtime's default
}

// DNS is the cluster's name service.
type DNS struct {
	Servers []string
	Domain  string
}

// Features are choices and abilities that containers are set up with.
type Features struct {
	SeccompDefault    bool // RuntimeDefault where a pod names no profile
	RecursiveReadOnly bool // the runtime can make a mount read-only with all below it
	SELinux           bool // the kernel enforces it: what the agent makes for a container gets the container's label
	ImageVolumes      bool // the runtime can mount images; one that cannot would mount something else without a word
	Handlers          []cri.Handler
	Users             *userns.Ranges // of pods that have users of their own
}

// Config is what an Executor works with.
type Config struct {
	Runtime  *cri.Client
	Volumes  *volumes.Volumes
	Cgroups  Cgroups
	Images   Images
	Objects  *objects.Store
	Event    func(p *v1.Pod, container, typ, reason, message string)
	Repair   func(ctx context.Context, failure error) (bool, error) // mends what a sandbox lacked; true: worth another try
	Node     func() downward.Node
	Services Services // nil: there is no API server
	Limits   cri.Node // what of the node decides cgroup values
	Paths    Paths
	DNS      DNS
	Runs     Features
}

// Services are those of namespaces at the API server.
type Services interface {
	In(ctx context.Context, namespaces ...string) ([]v1.Service, error)
	Known(namespaces ...string) []v1.Service // as far as they are known at once
}

// Executor does actions. It is safe for concurrent use.
type Executor struct {
	cfg Config

	hostsMu sync.Mutex // one writer of a hosts file: containers of a pod start at the same time
}

// New returns an executor.
func New(cfg Config) *Executor { return &Executor{cfg: cfg} }

// Do does one action to the end. Its errors carry the classes of pod.Error where a container's status names them.
func (e *Executor) Do(ctx context.Context, in plan.Input, a plan.Action) (*pod.Image, error) {
	switch a.Kind {
	case plan.CgroupCreate:
		return nil, e.createCgroup(in)
	case plan.VolumeMount:
		return nil, e.mountVolume(ctx, in, a)
	case plan.VolumeRefresh:
		return nil, e.refreshVolume(ctx, in.Desired.Pod, a.Name)
	case plan.ImagePull:
		return e.pullImage(ctx, in, a)
	case plan.ImageLook:
		return nil, e.lookForImage(ctx, in, a)
	case plan.SandboxCreate:
		return nil, e.createSandbox(ctx, in, a)
	case plan.ContainerStart:
		return nil, e.startContainer(ctx, in, a)
	case plan.PostStart:
		return nil, e.postStart(ctx, in, a)
	case plan.PodResize:
		return nil, e.resizePod(ctx, in)
	case plan.PreStop:
		return nil, e.preStop(ctx, in, a)
	case plan.ContainerStop:
		return nil, e.stopContainer(ctx, in, a)
	case plan.ContainerRemove:
		return nil, e.removeContainer(ctx, in, a)
	case plan.SandboxStop:
		return nil, e.cfg.Runtime.StopPodSandbox(ctx, a.ID)
	case plan.SandboxRemove:
		return nil, e.cfg.Runtime.RemovePodSandbox(ctx, a.ID)
	case plan.VolumeUnmount:
		return nil, e.unmountVolume(ctx, in, a)
	case plan.CgroupRemove:
		return nil, e.removeCgroup(in)
	case plan.DirRemove:
		return nil, e.removeDirs(ctx, in)
	}
	return nil, fmt.Errorf("cannot do %q: no such kind of action", a.Kind)
}

func (e *Executor) podDir(p *v1.Pod) string {
	return filepath.Join(e.cfg.Paths.Root, "pods", string(p.UID))
}

// makeLogDir makes the directory of a pod's logs, and a container's in it. Not every runtime does it itself: CRI leaves it to
// its client.
func (e *Executor) makeLogDir(p *v1.Pod, container ...string) error {
	return logs.MakeDir(e.cfg.Paths.PodLogs, append([]string{pod.LogDirName(p)}, container...)...)
}

// createCgroup makes the pod's directories and, last, its cgroup: with it there, all of them are.
func (e *Executor) createCgroup(in plan.Input) error {
	p := in.Desired.Pod
	for _, d := range []string{filepath.Join(e.podDir(p), "volumes"), filepath.Join(e.podDir(p), "containers")} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return fmt.Errorf("cannot make the pod's directory: %w", err)
		}
	}
	return e.cfg.Cgroups.CreatePod(p)
}

// removeCgroup is done when nothing that the runtime knows of the pod runs any more. A start that was cut off can leave a
// process that the runtime has forgotten: it is killed, and the next attempt finds the cgroup empty.
func (e *Executor) removeCgroup(in plan.Input) error {
	p := in.Desired.Pod
	err := e.cfg.Cgroups.RemovePod(p.UID)
	if !errors.Is(err, cgroups.ErrBusy) {
		return err
	}
	killed, killErr := e.cfg.Cgroups.KillPod(p.UID)
	slog.Warn("killed what ran on in a pod's cgroup after its last container", "pod", pod.FullName(p), "uid", p.UID, "processes", killed)
	return errors.Join(err, killErr)
}

func (e *Executor) mountVolume(ctx context.Context, in plan.Input, a plan.Action) error {
	p := in.Desired.Pod
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Name != a.Name || v.Image == nil {
			continue
		}
		if !e.cfg.Runs.ImageVolumes {
			err := fmt.Errorf("MountVolume.SetUp failed for volume %q : the container runtime has no image volumes: containerd 2.1 or newer is needed", v.Name)
			e.cfg.Event(p, "", v1.EventTypeWarning, "FailedMount", err.Error())
			return err
		}
		if _, err := e.cfg.Images.EnsureVolume(ctx, p, v.Image); err != nil {
			return err // with events of its own
		}
	}
	err := e.cfg.Volumes.Mount(ctx, p, a.Name)
	if err != nil && ctx.Err() == nil && worthTelling(in.Failures[a.Key()], err) {
		e.cfg.Event(p, "", v1.EventTypeWarning, "FailedMount", err.Error())
	}
	return err
}

// refreshVolume brings a volume up to date. Of a pod that is being deleted no failure is told: its objects may go with it.
func (e *Executor) refreshVolume(ctx context.Context, p *v1.Pod, volume string) error {
	err := e.cfg.Volumes.Refresh(ctx, p, volume)
	if err != nil && ctx.Err() == nil && p.DeletionTimestamp == nil {
		e.cfg.Event(p, "", v1.EventTypeWarning, "FailedMount", err.Error())
	}
	return err
}

func (e *Executor) unmountVolume(ctx context.Context, in plan.Input, a plan.Action) error {
	err := e.cfg.Volumes.Unmount(ctx, in.Desired.Pod.UID, a.Name)
	if err != nil && ctx.Err() == nil {
		e.cfg.Event(in.Desired.Pod, "", v1.EventTypeWarning, "FailedUnmount", err.Error())
	}
	return err
}

func (e *Executor) pullImage(ctx context.Context, in plan.Input, a plan.Action) (*pod.Image, error) {
	c, _ := pod.SpecOf(in.Desired.Pod, a.Name)
	if c == nil {
		return nil, fmt.Errorf("cannot pull the image of container %s: the pod does not have it", a.Name)
	}
	image, err := e.cfg.Images.Ensure(ctx, in.Desired.Pod, c, a.Attempt)
	if err != nil {
		return nil, err
	}
	return &image, nil
}

// removeDirs removes the pod's logs, the links to them and its directory.
func (e *Executor) removeDirs(ctx context.Context, in plan.Input) error {
	p := in.Desired.Pod
	if p.Name != "" && p.Namespace != "" {
		dir := cri.PodLogDir(e.cfg.Paths.PodLogs, p)
		if err := logs.RemoveDir(ctx, dir); err != nil {
			return err
		}
		if err := logs.UnlinkDangling(e.cfg.Paths.ContainerLogs, dir); err != nil {
			return err
		}
	}
	return e.cfg.Volumes.RemovePodDir(ctx, p.UID)
}
