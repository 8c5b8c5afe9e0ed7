package plan

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// freshFailure is how long a failed pull is reported as ErrImagePull before it becomes ImagePullBackOff.
const freshFailure = time.Second

// run brings the pod up and keeps it up.
func (p *pass) run() {
	// What went wrong at first is told, not what goes wrong in cleaning up after it.
	p.stuck(Action{Kind: SandboxCreate}, "FailedCreatePodSandBox")
	if p.rec.Restart != nil && !p.reset() {
		p.tidySandboxes()
		return
	}
	p.tidy()
	ready := p.foundation()
	if p.initialize(ready) {
		p.mains(ready)
	}
	p.ephemeral(ready)
	p.resize()
	for i := range p.views {
		if v := &p.views[i]; v.state != pod.Running && (v.state != pod.Ended || p.wants(v)) {
			p.wait(v.spec.Name, p.pending(), "")
		}
	}
}

// pending is why a container waits when nothing is wrong.
func (p *pass) pending() string {
	if len(p.spec.Spec.InitContainers) > 0 {
		return "PodInitializing"
	}
	return "ContainerCreating"
}

// foundation makes what containers stand on: cgroup, volumes, sandbox. It reports whether all of it is there.
func (p *pass) foundation() bool {
	o := &p.in.Observed
	if !o.Cgroup || !o.Dir || p.flying(string(CgroupCreate)) {
		p.do(Action{Kind: CgroupCreate})
		p.stuck(Action{Kind: CgroupCreate}, "FailedCreatePodCgroup")
		return false
	}
	ready := true
	for i := range p.spec.Spec.Volumes {
		name := p.spec.Spec.Volumes[i].Name
		if o.Mounts[name].Ready || !p.uses(name) {
			continue
		}
		ready = false
		mount := Action{Kind: VolumeMount, Name: name}
		p.do(mount)
		if !p.unpulled(mount) {
			p.stuck(mount, "FailedMount")
		}
	}
	if p.box == nil {
		p.sandbox()
		return false
	}
	return ready
}

// sandbox makes a sandbox once the older ones are down: their network is released, nothing runs in them, and nothing is
// being started for them that would come up in the new one.
func (p *pass) sandbox() {
	if p.flyingKind(ContainerStart) {
		return
	}
	var attempt uint32
	for i := range p.in.Observed.Sandboxes {
		s := &p.in.Observed.Sandboxes[i]
		attempt = max(attempt, s.Attempt+1)
		if !p.down(s) {
			return
		}
	}
	create := Action{Kind: SandboxCreate, Attempt: attempt}
	p.do(create)
	p.stuck(create, "FailedCreatePodSandBox")
}

// stuck tells why the pod as a whole waits, when an action has failed.
func (p *pass) stuck(a Action, reason string) {
	if f, failed := p.in.Failures[a.Key()]; failed {
		p.wait("", reason, f.Text)
	}
}

// uses reports whether any container uses a volume.
func (p *pass) uses(volume string) bool {
	for i := range p.views {
		c := p.views[i].spec
		for j := range c.VolumeMounts {
			if c.VolumeMounts[j].Name == volume {
				return true
			}
		}
		for j := range c.VolumeDevices {
			if c.VolumeDevices[j].Name == volume {
				return true
			}
		}
	}
	return false
}

// mains starts main containers at once in spec order; one with a postStart hook holds back those after it.
func (p *pass) mains(ready bool) {
	for i := range p.views {
		v := &p.views[i]
		if v.role != pod.Main {
			continue
		}
		if p.advance(v, ready) && postStart(v.spec) != nil {
			ready = false
		}
	}
}

// ephemeral starts each ephemeral container once.
func (p *pass) ephemeral(ready bool) {
	for i := range p.views {
		if v := &p.views[i]; v.role == pod.Ephemeral {
			p.advance(v, ready)
		}
	}
}

// advance does the next thing for a container that should run. It reports whether it is on its way: being started, or
// started with its hook not done. One that waits after a failure is not.
func (p *pass) advance(v *view, ready bool) bool {
	switch {
	case v.state == pod.Running:
		if !v.here {
			return false
		}
		p.check(v)
		return !p.postStarted(v)
	case v.state == pod.Ended && !p.wants(v):
		return false
	}
	return p.start(v, ready)
}

// start starts the next attempt of a container as soon as that is possible.
func (p *pass) start(v *view, ready bool) bool {
	name := v.spec.Name
	if v.state == pod.Created {
		removed := p.flying(Action{Kind: ContainerRemove, ID: v.c.ID}.Key())
		if !v.here || stale(v) || removed || !ready {
			return true // tidy removes it, or something is still missing
		}
		return p.launch(v, Action{Kind: ContainerStart, Name: name, ID: v.c.ID, Attempt: v.c.Attempt})
	}
	if v.state == pod.Ended {
		p.begin(v)
		if stale(v) && p.rec.Backoff[name] > 0 {
			p.backoff(name, 0) // it crashed as another one
		}
		// An exit that lies ahead is of a clock that was set back since: nobody could say how long that is to wait.
		if at := v.finished.Add(p.rec.Backoff[name]); p.in.Now.Before(at) && !v.finished.After(p.in.Now) {
			p.crashed(name)
			p.wake(at)
			return false
		}
	}
	if img, ok := p.in.Observed.Images[name]; !ok || img.Attempt != v.next || img.Ref != v.spec.Image {
		return p.pull(v)
	}
	if v.h.Alive {
		return true // an older attempt is being stopped
	}
	if !ready {
		p.failing(v, Action{Kind: ContainerStart, Name: name})
		return true
	}
	return p.launch(v, Action{Kind: ContainerStart, Name: name, Attempt: v.next})
}

// launch plans a start and counts it.
func (p *pass) launch(v *view, a Action) bool {
	p.failing(v, a)
	if !p.do(a) {
		return false
	}
	p.attempts(v.spec.Name, a.Attempt+1)
	return true
}

// failing tells why a container does not start, when its last start failed.
func (p *pass) failing(v *view, a Action) {
	f, failed := p.in.Failures[a.Key()]
	if !failed {
		return
	}
	switch f.Class {
	case pod.CreateContainerConfigError, pod.CreateContainerError, pod.RunContainerError:
		p.wait(v.spec.Name, f.Class, f.Text)
	default:
		p.wait(v.spec.Name, pod.CreateContainerError, f.Text)
	}
}

// pull resolves the image for the next attempt: every start checks it against the pull policy.
func (p *pass) pull(v *view) bool {
	a := Action{Kind: ImagePull, Name: v.spec.Name, Image: v.spec.Image, Attempt: v.next}
	if f, failed := p.in.Failures[a.Key()]; failed {
		p.imageless(v.spec.Name, v.spec.Image, f)
	}
	planned := p.do(a)
	p.look(a, v.spec.Image, v.spec.ImagePullPolicy)
	return planned
}

// imageless tells why a container waits for an image that could not be made present.
func (p *pass) imageless(container, image string, f pod.Failure) {
	fresh := f.Last.Add(freshFailure)
	switch {
	case f.Class == pod.ErrImageNeverPull || f.Class == pod.InvalidImageName:
		p.wait(container, f.Class, f.Text)
	case p.in.Now.Before(fresh):
		p.wait(container, imageReason(f), f.Text)
		p.wake(fresh)
	default:
		p.wait(container, "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: %s: %s", image, imageReason(f), f.Text))
	}
}

func imageReason(f pod.Failure) string {
	if imageFailed(f) {
		return f.Class
	}
	return pod.ErrImagePull
}

// imageFailed reports whether an action failed for want of an image.
func imageFailed(f pod.Failure) bool {
	switch f.Class {
	case pod.ErrImagePull, pod.ErrImageNeverPull, pod.ErrImageInspect, pod.InvalidImageName, pod.RegistryUnavailable, pod.SignatureValidationFailed:
		return true
	}
	return false
}

// unpulled tells the containers that mount an image volume why they wait, when its image could not be made present, and
// looks for it.
func (p *pass) unpulled(mount Action) bool {
	f, failed := p.in.Failures[mount.Key()]
	if !failed || !imageFailed(f) {
		return false
	}
	image := ""
	for i := range p.spec.Spec.Volumes {
		if vol := &p.spec.Spec.Volumes[i]; vol.Name == mount.Name && vol.Image != nil {
			image = vol.Image.Reference
			p.look(mount, image, vol.Image.PullPolicy)
		}
	}
	for i := range p.views {
		c := p.views[i].spec
		for j := range c.VolumeMounts {
			if c.VolumeMounts[j].Name == mount.Name {
				p.imageless(c.Name, image, f)
			}
		}
	}
	return true
}

// crashed tells that a container waits for its restart.
func (p *pass) crashed(name string) {
	p.wait(name, "CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
		p.rec.Backoff[name], name, p.spec.Name, p.spec.Namespace, p.spec.UID))
}

func postStart(c *v1.Container) *v1.LifecycleHandler {
	if c.Lifecycle == nil {
		return nil
	}
	return c.Lifecycle.PostStart
}

// postStarted runs the postStart hook of a running container, and reports whether it holds back nothing any more. A
// hook that began and has no outcome is run again: the agent died meanwhile. Where the record was lost, a container that
// was reported as started had its hook.
func (p *pass) postStarted(v *view) bool {
	if postStart(v.spec) == nil {
		return true
	}
	h := p.rec.Hooks[v.c.ID]
	if h.PostStart == pod.HookDone || h.PostStart == pod.HookFailed {
		return true
	}
	if h.PostStart == "" && v.h.ReportedStarted() {
		h.PostStart = pod.HookDone
		p.hooks(v.c.ID, h)
		return true
	}
	h.PostStart = pod.HookBegun
	p.hooks(v.c.ID, h)
	p.do(Action{Kind: PostStart, Name: v.spec.Name, ID: v.c.ID})
	return false
}
