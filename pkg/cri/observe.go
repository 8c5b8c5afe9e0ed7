package cri

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// ErrPodStatus is the error of a look at one pod that the runtime does not tell about as it should, while it answers. The words
// are those of a kubelet's event.
var ErrPodStatus = errors.New("error determining status")

// ofThePod marks an error as one about this pod, unless the runtime answers nobody.
func ofThePod(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrPodStatus, err)
}

// Tail returns the end of a container's log: at most so many lines and bytes.
type Tail func(path string, lines, maxBytes int) (string, error)

// Observer looks at what the runtime has of a pod. It remembers what the runtime said about a sandbox or container in a
// state, so that a look at an unchanged pod costs two list calls. It is safe for concurrent use by many pods.
type Observer struct {
	client *Client
	tail   Tail

	oomKills func(uid string) int64

	mu   sync.Mutex
	pods map[string]*podCache // by pod UID
}

// podCache holds what is known of one pod, by the ID of a sandbox or container. An entry is valid for one state.
type podCache struct {
	sandboxes  map[string]sandboxEntry
	containers map[string]containerEntry
	oomKills   int64 // accounted for
}

type sandboxEntry struct {
	state runtimeapi.PodSandboxState
	value pod.Sandbox
}

type containerEntry struct {
	state runtimeapi.ContainerState
	value pod.Container
}

// NewObserver returns an observer. Tail serves terminationMessagePolicy FallbackToLogsOnError; nil reads no logs. Oomkills
// counts what the kernel has killed of a pod for want of memory; nil knows of none.
func NewObserver(c *Client, tail Tail, oomKills func(uid string) int64) *Observer {
	return &Observer{client: c, tail: tail, oomKills: oomKills, pods: map[string]*podCache{}}
}

// Observe returns the sandboxes and containers that the runtime has of a pod, newest first. What vanishes while it looks
// is left out. It fails as a whole when the runtime does not answer, or not about all of the pod (ErrPodStatus): half a look
// would be taken for the truth.
func (o *Observer) Observe(ctx context.Context, uid string) ([]pod.Sandbox, []pod.Container, error) {
	if uid == "" {
		return nil, nil, errors.New("cannot look for a pod without a UID")
	}
	boxes, list, err := o.lists(ctx, uid)
	if err != nil {
		return nil, nil, err
	}
	old := o.cached(uid)
	next := &podCache{
		sandboxes:  make(map[string]sandboxEntry, len(boxes)),
		containers: make(map[string]containerEntry, len(list)),
		oomKills:   old.oomKills,
	}
	sandboxes := make([]pod.Sandbox, 0, len(boxes))
	for _, b := range boxes {
		e, ok := old.sandboxes[b.Id]
		if !ok || e.state != b.State {
			if e, err = o.sandbox(ctx, b); errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				return nil, nil, ofThePod(err)
			}
		}
		next.sandboxes[b.Id] = e
		sandboxes = append(sandboxes, e.value)
	}
	containers := make([]pod.Container, 0, len(list))
	for _, c := range list {
		e, ok := old.containers[c.Id]
		if !ok || e.state != c.State {
			if e, err = o.container(ctx, c); errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				return nil, nil, ofThePod(err)
			}
			o.outOfMemory(uid, &e.value, &next.oomKills)
		}
		next.containers[c.Id] = e
		containers = append(containers, e.value)
	}
	o.keep(uid, next)
	sortNewest(sandboxes, containers)
	return sandboxes, containers, nil
}

// lists are what the runtime has of a pod, in short.
func (o *Observer) lists(ctx context.Context, uid string) ([]*runtimeapi.PodSandbox, []*runtimeapi.Container, error) {
	boxes, err := o.client.ListPodSandboxes(ctx, uid)
	var containers []*runtimeapi.Container
	if err == nil {
		containers, err = o.client.ListContainers(ctx, uid)
	}
	if errors.Is(err, errIncomplete) {
		err = ofThePod(err)
	}
	return boxes, containers, err
}

// Refresh drops what is remembered of a pod's running containers, after they were changed in place.
func (o *Observer) Refresh(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.pods[uid]; c != nil {
		fresh := *c
		fresh.containers = maps.Clone(c.containers)
		maps.DeleteFunc(fresh.containers, func(_ string, e containerEntry) bool { return e.state == runtimeapi.ContainerState_CONTAINER_RUNNING })
		o.pods[uid] = &fresh
	}
}

// Forget drops what is remembered of a pod.
func (o *Observer) Forget(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pods, uid)
}

func (o *Observer) cached(uid string) *podCache {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.pods[uid]; c != nil {
		return c
	}
	return &podCache{}
}

// keep replaces what is remembered of a pod, so that what the runtime has no more is forgotten. Values in it never change.
func (o *Observer) keep(uid string, c *podCache) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(c.sandboxes)+len(c.containers) == 0 {
		delete(o.pods, uid)
		return
	}
	o.pods[uid] = c
}

func sortNewest(boxes []pod.Sandbox, containers []pod.Container) {
	slices.SortStableFunc(boxes, func(a, b pod.Sandbox) int {
		if a.Attempt != b.Attempt {
			return int(int64(b.Attempt) - int64(a.Attempt))
		}
		return b.CreatedAt.Compare(a.CreatedAt)
	})
	slices.SortStableFunc(containers, func(a, b pod.Container) int {
		if a.Name == b.Name && a.Attempt != b.Attempt {
			return int(int64(b.Attempt) - int64(a.Attempt))
		}
		return b.CreatedAt.Compare(a.CreatedAt)
	})
}

func (o *Observer) sandbox(ctx context.Context, b *runtimeapi.PodSandbox) (sandboxEntry, error) {
	s, err := o.client.PodSandboxStatus(ctx, b.Id)
	if err != nil {
		return sandboxEntry{}, err
	}
	v := pod.Sandbox{
		ID:        s.Id,
		Attempt:   s.GetMetadata().GetAttempt(),
		Ready:     s.State == runtimeapi.PodSandboxState_SANDBOX_READY,
		CreatedAt: time.Unix(0, s.CreatedAt),
	}
	if s.GetLinux().GetNamespaces().GetOptions().GetNetwork() != runtimeapi.NamespaceMode_NODE {
		if ip := s.GetNetwork().GetIp(); ip != "" {
			v.IPs = append(v.IPs, ip)
		}
		for _, ip := range s.GetNetwork().GetAdditionalIps() {
			v.IPs = append(v.IPs, ip.Ip)
		}
	}
	return sandboxEntry{state: s.State, value: v}, nil
}

func (o *Observer) container(ctx context.Context, c *runtimeapi.Container) (containerEntry, error) {
	s, err := o.client.ContainerStatus(ctx, c.Id)
	if err != nil {
		return containerEntry{}, err
	}
	v := pod.Container{
		ID:        s.Id,
		Name:      s.GetMetadata().GetName(),
		SandboxID: c.PodSandboxId,
		Attempt:   s.GetMetadata().GetAttempt(),
		Hash:      s.Annotations[annotationHash],
		State:     containerState(s.State),
		CreatedAt: timeOf(s.CreatedAt),
		StartedAt: timeOf(s.StartedAt),
		Image:     strings.TrimSpace(s.GetImage().GetImage()),
		ImageID:   s.ImageRef,
	}
	if u := s.GetUser().GetLinux(); u != nil {
		v.User = &pod.User{UID: u.Uid, GID: u.Gid, SupplementalGroups: u.SupplementalGroups}
	}
	if r := s.GetResources().GetLinux(); r != nil {
		v.Resources = &pod.Resources{
			CPUShares: r.CpuShares, CPUQuota: r.CpuQuota, CPUPeriod: r.CpuPeriod, MemoryLimit: r.MemoryLimitInBytes,
		}
	}
	if s.StopSignal != runtimeapi.Signal_RUNTIME_DEFAULT {
		v.StopSignal = strings.NewReplacer("PLUS", "+", "MINUS", "-").Replace(s.StopSignal.String())
	}
	switch {
	case cutOff(s):
		v.State, v.CutOff = pod.ContainerCreated, true
	case s.State == runtimeapi.ContainerState_CONTAINER_EXITED:
		v.FinishedAt = timeOf(s.FinishedAt)
		v.ExitCode = s.ExitCode
		v.Reason = exitReason(s)
		v.Message = o.message(s)
	}
	return containerEntry{state: s.State, value: v}, nil
}

func containerState(s runtimeapi.ContainerState) pod.ContainerState {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return pod.ContainerCreated
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return pod.ContainerRunning
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return pod.ContainerExited
	}
	return pod.ContainerUnknown
}

// timeOf reads a time of CRI, in which 0 stands for never.
func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Known is a pod that the runtime has something of.
type Known struct{ UID, Namespace, Name string }

// ObserveAll returns every pod that the runtime has a sandbox or container of, once each, in the order of their UIDs.
func (o *Observer) ObserveAll(ctx context.Context) ([]Known, error) {
	boxes, err := o.client.ListPodSandboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	list, err := o.client.ListContainers(ctx, "")
	if err != nil {
		return nil, err
	}
	byUID := map[string]Known{}
	add := func(labels map[string]string) {
		if uid := labels[LabelPodUID]; uid != "" {
			byUID[uid] = Known{UID: uid, Namespace: labels[LabelPodNamespace], Name: labels[LabelPodName]}
		}
	}
	for _, b := range boxes {
		add(b.Labels)
	}
	for _, c := range list {
		add(c.Labels)
	}
	out := make([]Known, 0, len(byUID))
	for _, k := range byUID {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Known) int { return strings.Compare(a.UID, b.UID) })
	return out, nil
}
