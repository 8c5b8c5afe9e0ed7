package status

import (
	"cmp"
	"slices"
	"time"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// container is the status of one container of the specification: of its newest attempt that has run, as the runtime has
// it, else as it was reported last.
func (b *build) container(role pod.Role, c *v1.Container) v1.ContainerStatus {
	h := pod.HistoryOf(&b.in.Observed, b.prior, c.Name)
	if h.Lost {
		return b.missing(role, &h)
	}
	mounts := volumeMounts(c, b.host.RecursiveReadOnly)
	prior, ran := h.Reported, h.Ran
	if ran == nil {
		return v1.ContainerStatus{
			Name: c.Name, Image: c.Image, Started: new(false), State: b.waiting(c.Name, prior), VolumeMounts: mounts,
			RestartCount: int32(h.RestartCount()),
		}
	}
	s := v1.ContainerStatus{
		Name: c.Name, RestartCount: int32(h.RestartCount()), Image: cmp.Or(ran.Image, c.Image), ImageID: ran.ImageID,
		ContainerID: b.host.Runtime + "://" + ran.ID, User: user(ran.User), VolumeMounts: mounts,
	}
	switch {
	case h.Before != nil && h.Before.State == pod.ContainerExited:
		s.LastTerminationState = b.terminated(role, h.Before)
	case prior == nil || prior.ContainerID == "":
	case !h.Same(ran):
		s.LastTerminationState.Terminated = pod.EndOf(prior)
	case prior.State.Waiting == nil:
		s.LastTerminationState = prior.LastTerminationState
	}
	if ran.State == pod.ContainerExited {
		b.exited(&s, role, &h)
	} else {
		s.State.Running = &v1.ContainerStateRunning{StartedAt: stamp(ran.StartedAt)}
		s.Started = new(h.Started(c, b.d.Record.Hooks[ran.ID], b.in.Health[ran.ID]))
		s.Ready = *s.Started && b.ready(role, c, &h)
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil && ran.StopSignal != "" {
		s.StopSignal = new(v1.Signal(ran.StopSignal))
	}
	if role != pod.Ephemeral {
		allocate(&s, c, ran)
	}
	return s
}

// exited tells how a container ended, or why it waits for its next attempt.
func (b *build) exited(s *v1.ContainerStatus, role pod.Role, h *pod.History) {
	c := h.Ran
	s.Started = new(false)
	s.State = b.terminated(role, c)
	if role == pod.Init && c.ExitCode == 0 {
		s.Ready = true
	}
	if w, ok := b.d.Waiting[c.Name]; ok {
		if w.Message == "" {
			w.Message = b.d.Waiting[""].Message
		}
		// One that runs again against its policy, in a new sandbox or with a new definition: an API server would not let it leave its end.
		against := role == pod.Init && c.ExitCode == 0
		if spec, _ := pod.SpecOf(b.in.Desired.Pod, c.Name); spec != nil && b.d.Record.Restart == nil {
			against = !plan.Restarts(b.in.Desired.Pod, role, spec, c.ExitCode)
		}
		if w.Message == "" && !against {
			// About to start again, with nothing in the way: its end is what there is to tell, or that it waited for this.
			if h.Same(c) && h.Reported.State.Waiting != nil {
				s.LastTerminationState, s.State = s.State, *h.Reported.State.DeepCopy()
			}
			return
		}
		s.LastTerminationState = s.State
		s.State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}}
		s.Ready = false
	}
}

// missing is the status of a container that was reported and cannot be found any more.
func (b *build) missing(role pod.Role, h *pod.History) v1.ContainerStatus {
	s := *h.Reported.DeepCopy()
	s.Started, s.Ready, s.RestartCount = new(false), false, int32(h.RestartCount())
	gone := v1.ContainerState{Terminated: pod.EndOf(h.Reported)}
	s.State = gone
	if _, waits := b.d.Waiting[s.Name]; waits {
		s.LastTerminationState, s.State = gone, b.waiting(s.Name, nil)
		return s
	}
	if h.Reported.State.Waiting != nil {
		s.LastTerminationState = v1.ContainerState{}
	}
	s.Ready = role == pod.Init && gone.Terminated.ExitCode == 0
	return s
}

// waiting is why a container has not started. Of one that never will, because the pod ends, the last reason stands.
func (b *build) waiting(name string, prior *v1.ContainerStatus) v1.ContainerState {
	w, ok := b.d.Waiting[name]
	if !ok && prior != nil && prior.State.Waiting != nil {
		return *prior.State.DeepCopy()
	}
	if !ok {
		w.Reason = "ContainerCreating"
		if len(b.in.Desired.Pod.Spec.InitContainers) > 0 {
			w.Reason = "PodInitializing"
		}
	}
	if w.Message == "" {
		w.Message = b.d.Waiting[""].Message // what the pod as a whole waits for
	}
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}}
}

// maxMessages bounds the termination messages of a pod together, in bytes: each container has its equal share.
const maxMessages = 12 << 10

// share cuts a termination message to what its pod's size leaves for it, at a character's end. Each byte that is not of a
// character is then replaced, as JSON does.
func (b *build) share(message string) string {
	s := &b.in.Desired.Pod.Spec
	n := maxMessages / max(len(s.Containers)+len(s.InitContainers)+len(s.EphemeralContainers), 1)
	if len(message) > n {
		for least := n - utf8.UTFMax + 1; n > max(least, 0) && !utf8.RuneStart(message[n]); {
			n--
		}
		message = message[:n]
	}
	return string([]rune(message))
}

// terminated tells how a container ended. One that was killed so that all containers of its pod restart did nothing wrong,
// and its reason says so.
func (b *build) terminated(role pod.Role, c *pod.Container) v1.ContainerState {
	reason := c.Reason
	r := b.d.Record.Restart
	switch {
	case r != nil && role != pod.Ephemeral && c.Name != r.By && !c.FinishedAt.Before(r.At):
		reason = plan.ReasonRestart
	case reason != "":
	case c.ExitCode == 0:
		reason = "Completed"
	default:
		reason = "Error"
	}
	return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
		ExitCode: c.ExitCode, Reason: reason, Message: b.share(c.Message), StartedAt: startedAt(c.StartedAt),
		FinishedAt: stamp(c.FinishedAt), ContainerID: b.host.Runtime + "://" + c.ID,
	}}
}

// startedAt is when a container that has ended was started: at Unix time 0 if it never was, as a kubelet writes it.
func startedAt(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Unix(0, 0)
	}
	return stamp(t)
}

// ready reports whether a started container is ready. Without a verdict of its readiness probe, what was reported of this
// very container holds, so that a restart of the agent makes nothing flip.
func (b *build) ready(role pod.Role, c *v1.Container, h *pod.History) bool {
	if role == pod.Init || role == pod.Ephemeral {
		return false
	}
	if c.ReadinessProbe == nil {
		return true
	}
	switch b.in.Health[h.Ran.ID].Readiness {
	case pod.Success:
		return true
	case pod.Failed:
		return false
	}
	return h.Same(h.Ran) && h.Reported.Ready
}

func user(u *pod.User) *v1.ContainerUser {
	if u == nil {
		return nil
	}
	return &v1.ContainerUser{Linux: &v1.LinuxContainerUser{
		UID: u.UID, GID: u.GID, SupplementalGroups: slices.Clone(u.SupplementalGroups),
	}}
}

// allocate tells what the container was given (KEP-1287): the requests that the node has set aside, and the cgroup values
// that the runtime reports, where it reports any.
func allocate(s *v1.ContainerStatus, c *v1.Container, o *pod.Container) {
	if len(c.Resources.Requests) == 0 && len(c.Resources.Limits) == 0 {
		s.Resources = &v1.ResourceRequirements{}
		return
	}
	s.AllocatedResources = c.Resources.Requests.DeepCopy()
	s.Resources = c.Resources.DeepCopy()
	r := o.Resources
	if r == nil {
		return
	}
	if q, asked := s.Resources.Requests[v1.ResourceCPU]; asked && r.CPUShares > 0 && resources.CPUShares(q.MilliValue()) != r.CPUShares {
		s.Resources.Requests[v1.ResourceCPU] = *resource.NewMilliQuantity(resources.MilliCPU(r.CPUShares), resource.DecimalSI)
	}
	if _, limited := s.Resources.Limits[v1.ResourceCPU]; limited && r.CPUQuota > 0 && r.CPUPeriod > 0 {
		milli := (r.CPUQuota*1000 + r.CPUPeriod - 1) / r.CPUPeriod
		setMilli(s.Resources.Limits, milli)
	}
	if m, limited := s.Resources.Limits[v1.ResourceMemory]; limited && r.MemoryLimit > 0 && m.Value() != r.MemoryLimit {
		s.Resources.Limits[v1.ResourceMemory] = *resource.NewQuantity(r.MemoryLimit, resource.BinarySI)
	}
}

// setMilli keeps the quantity as it was written when the cgroup says the same, or has the least that it can hold.
func setMilli(l v1.ResourceList, milli int64) {
	if q := l[v1.ResourceCPU]; q.MilliValue() != milli && max(q.MilliValue(), milli) > minQuota {
		l[v1.ResourceCPU] = *resource.NewMilliQuantity(milli, resource.DecimalSI)
	}
}

// volumeMounts tells how each mount was made (KEP-3857): IfPossible is told as what it came to.
func volumeMounts(c *v1.Container, recursive bool) []v1.VolumeMountStatus {
	var out []v1.VolumeMountStatus
	for _, m := range c.VolumeMounts {
		s := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			private := m.MountPropagation == nil || *m.MountPropagation == v1.MountPropagationNone
			switch asked := m.RecursiveReadOnly; {
			case asked == nil:
			case *asked == v1.RecursiveReadOnlyEnabled, *asked == v1.RecursiveReadOnlyIfPossible && recursive && private:
				mode = v1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		out = append(out, s)
	}
	return out
}
