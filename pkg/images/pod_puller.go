package images

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// PodPuller makes the images of containers and volumes present, with the credentials that the pod names.
type PodPuller struct {
	Puller  *Puller
	Objects *objects.Store
	Event   func(p *v1.Pod, container, typ, reason, message string)
}

// Ensure makes the image of a container present.
func (p *PodPuller) Ensure(ctx context.Context, pd *v1.Pod, c *v1.Container, attempt uint32) (pod.Image, error) {
	return p.Puller.Ensure(ctx, Request{
		Pod: pd, Container: c.Name, Ref: c.Image, Policy: c.ImagePullPolicy, Attempt: attempt, Secrets: p.told(ctx, pd),
	})
}

// EnsureVolume makes the image of a volume present.
func (p *PodPuller) EnsureVolume(ctx context.Context, pd *v1.Pod, v *v1.ImageVolumeSource) (pod.Image, error) {
	return p.Puller.Ensure(ctx, Request{Pod: pd, Ref: v.Reference, Policy: v.PullPolicy, Secrets: p.told(ctx, pd)})
}

// Present reports whether an image is there that the policy lets the pod use without a pull.
func (p *PodPuller) Present(ctx context.Context, pd *v1.Pod, ref string, policy v1.PullPolicy) (bool, error) {
	return p.Puller.usable(ctx, Request{Pod: pd, Ref: ref, Policy: policy, Secrets: func() []v1.Secret {
		found, _ := p.secrets(ctx, pd)
		return found
	}})
}

// told finds the pull secrets of a pod that can be had; it is told of the others.
func (p *PodPuller) told(ctx context.Context, pd *v1.Pod) func() []v1.Secret {
	return func() []v1.Secret {
		found, missing := p.secrets(ctx, pd)
		if len(missing) > 0 && ctx.Err() == nil {
			p.Event(pd, "", v1.EventTypeWarning, "FailedToRetrieveImagePullSecret", fmt.Sprintf(
				"Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(missing, ", ")))
		}
		return found
	}
}

func (p *PodPuller) secrets(ctx context.Context, pd *v1.Pod) (found []v1.Secret, missing []string) {
	for _, ref := range pd.Spec.ImagePullSecrets {
		s, err := objects.Get[v1.Secret](ctx, p.Objects.For(pd), pd.Namespace, ref.Name)
		if err != nil {
			slog.Debug("cannot get a pull secret", "pod", pod.FullName(pd), "secret", ref.Name, "err", err)
			missing = append(missing, ref.Name)
			continue
		}
		found = append(found, *s)
	}
	return found, missing
}
