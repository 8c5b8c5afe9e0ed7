package act

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// lookForImage succeeds when what lacked an image is worth another try: the image is there, or the runtime, which could not
// be asked for it, answers again.
func (e *Executor) lookForImage(ctx context.Context, in plan.Input, a plan.Action) error {
	p := in.Desired.Pod
	present, err := e.cfg.Images.Present(ctx, p, a.Image, pullPolicy(p, a))
	switch {
	case err != nil:
		return err
	case present, in.Failures[a.Lacked()].Class == pod.ErrImageInspect:
		return nil
	}
	return fmt.Errorf("image %s is not there yet", a.Image)
}

// pullPolicy is that of the container or the volume that an image is looked for.
func pullPolicy(p *v1.Pod, a plan.Action) v1.PullPolicy {
	if a.For == plan.ImagePull {
		if c, _ := pod.SpecOf(p, a.Name); c != nil {
			return c.ImagePullPolicy
		}
		return ""
	}
	for i := range p.Spec.Volumes {
		if v := &p.Spec.Volumes[i]; v.Name == a.Name && v.Image != nil {
			return v.Image.PullPolicy
		}
	}
	return ""
}
