package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/time/rate"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images/credentials"
	"github.com/minikubelet/minikubelet/pkg/images/pulled"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Runtime is what the puller needs of the container runtime.
type Runtime interface {
	ImageStatus(ctx context.Context, ref string) (*cri.Image, error) // nil when it is not there
	PullImage(ctx context.Context, ref string, auth cri.Auth, sandbox *runtimeapi.PodSandboxConfig) (id string, err error)
}

// Events takes events about a container of a pod; typ is Normal or Warning.
type Events interface {
	Event(p *v1.Pod, container, typ, reason, message string)
}

// Config is a puller's configuration. Zero limits stand for none.
type Config struct {
	Runtime     Runtime
	Events      Events
	Serialize   bool    // one pull at a time (serializeImagePulls)
	MaxParallel int     // pulls at a time (maxParallelImagePulls)
	QPS         float64 // pulls begun per second (registryPullQPS)
	Burst       int     // registryBurst
	// Logins are those that do not come from pull secrets: the node's own, and the credential providers'. Nil: none.
	Logins func(ctx context.Context, p *v1.Pod, ref string) ([]credentials.Login, error)
	// Pulled counts a pull that succeeded, with the wait for its turn; may be nil.
	Pulled  func(bytes int64, took time.Duration)
	Records *pulled.Records // of who may use what is present; nil: everybody
}

// Puller brings images to the node.
type Puller struct {
	cfg   Config
	slots chan struct{} // nil: no cap
	limit *rate.Limiter

	wg      sync.WaitGroup
	mu      sync.Mutex
	flights map[string]*flight
}

// NewPuller returns a puller.
func NewPuller(cfg Config) *Puller {
	p := &Puller{cfg: cfg, limit: rate.NewLimiter(rate.Inf, 0), flights: map[string]*flight{}}
	if cfg.QPS > 0 {
		p.limit = rate.NewLimiter(rate.Limit(cfg.QPS), max(cfg.Burst, 1))
	}
	switch {
	case cfg.Serialize:
		p.slots = make(chan struct{}, 1)
	case cfg.MaxParallel > 0:
		p.slots = make(chan struct{}, cfg.MaxParallel)
	}
	return p
}

// Wait returns when no pull goes on; pulls end when those who wait for them have gone.
func (p *Puller) Wait() { p.wg.Wait() }

// Request asks for the image of one start of a container, or of a volume.
type Request struct {
	Pod       *v1.Pod
	Container string        // "": a volume of the pod
	Ref       string        // as the specification names it; :latest when it has neither tag nor digest
	Policy    v1.PullPolicy // "": Always for :latest, else IfNotPresent
	Attempt   uint32
	Secrets   func() []v1.Secret // imagePullSecrets that exist; asked for only when an image is not there for all. Nil: none
	Sandbox   *runtimeapi.PodSandboxConfig
}

// Ensure makes an image present as the policy wants it. Its errors are *pod.Error with the class of an image, except for
// the context's own.
func (p *Puller) Ensure(ctx context.Context, r Request) (pod.Image, error) {
	image, err := p.ensure(ctx, r)
	if e, ok := errors.AsType[*pod.Error](err); ok && ctx.Err() == nil {
		p.event(r, v1.EventTypeWarning, "Failed", "Error: "+e.Class)
	}
	return image, err
}

func (p *Puller) ensure(ctx context.Context, r Request) (pod.Image, error) {
	ref, latest, err := normalize(r.Ref)
	if err != nil {
		p.event(r, v1.EventTypeWarning, "InspectFailed", err.Error())
		return pod.Image{}, &pod.Error{Class: pod.InvalidImageName, Err: err}
	}
	policy := effective(r.Policy, latest)
	known := p.lookUp(ctx, r, ref)
	if policy != v1.PullAlways {
		have, err := p.cfg.Runtime.ImageStatus(ctx, ref)
		switch {
		case ctx.Err() != nil:
			return pod.Image{}, ctx.Err()
		case err != nil:
			p.event(r, v1.EventTypeWarning, "InspectFailed", fmt.Sprintf("Failed to inspect image %q: %v", r.Ref, err))
			return pod.Image{}, &pod.Error{Class: pod.ErrImageInspect, Err: err}
		case have != nil && p.present(r, have, known):
			return pod.Image{Ref: r.Ref, ID: have.ID, Attempt: r.Attempt}, nil
		case policy == v1.PullNever: // also when it is there: whose it is, is not to be found out
			err := sentence("Container image %q is not present with pull policy of Never", r.Ref)
			p.event(r, v1.EventTypeWarning, pod.ErrImageNeverPull, err.Error())
			return pod.Image{}, &pod.Error{Class: pod.ErrImageNeverPull, Err: err}
		}
	}
	return p.pull(ctx, r, ref, known)
}

func effective(policy v1.PullPolicy, latest bool) v1.PullPolicy {
	switch {
	case policy != "":
		return policy
	case latest:
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

// usable reports whether an image is there that the policy lets the pod use without a pull. It asks the runtime and the
// pod's secrets, no registry and no credential provider, and tells nobody.
func (p *Puller) usable(ctx context.Context, r Request) (bool, error) {
	ref, latest, err := normalize(r.Ref)
	if err != nil || effective(r.Policy, latest) == v1.PullAlways {
		return false, nil
	}
	have, err := p.cfg.Runtime.ImageStatus(ctx, ref)
	if err != nil || have == nil {
		return false, err
	}
	return p.allowed(r, have, func() ([]credentials.Login, error) { return credentials.FromSecrets(ref, r.secrets()) }), nil
}

func (r Request) secrets() []v1.Secret {
	if r.Secrets == nil {
		return nil
	}
	return r.Secrets()
}

// present reports whether the pod may use an image that is there, and tells of it.
func (p *Puller) present(r Request, have *cri.Image, known func() ([]credentials.Login, error)) bool {
	if !p.allowed(r, have, known) {
		return false
	}
	message := fmt.Sprintf("Container image %q already present on machine", r.Ref)
	if p.cfg.Records != nil {
		message += " and can be accessed by the pod"
	}
	p.event(r, v1.EventTypeNormal, "Pulled", message)
	return true
}

func (p *Puller) allowed(r Request, have *cri.Image, known func() ([]credentials.Login, error)) bool {
	return p.cfg.Records == nil || p.cfg.Records.Allowed(r.Ref, have.ID, func() []credentials.Login {
		logins, _ := known() // what cannot be read shows nothing; a pull that follows tells of it
		return logins
	})
}

// lookUp finds the logins for an image once, when they are needed: the most specific first.
func (p *Puller) lookUp(ctx context.Context, r Request, ref string) func() ([]credentials.Login, error) {
	return sync.OnceValues(func() ([]credentials.Login, error) {
		logins, err := credentials.FromSecrets(ref, r.secrets())
		if p.cfg.Logins != nil {
			more, moreErr := p.cfg.Logins(ctx, r.Pod, ref)
			logins, err = append(logins, more...), errors.Join(err, moreErr)
		}
		return credentials.Sort(logins), err
	})
}

func (p *Puller) pull(ctx context.Context, r Request, ref string, known func() ([]credentials.Login, error)) (pod.Image, error) {
	logins, loginErr := known()
	if ctx.Err() != nil {
		return pod.Image{}, ctx.Err()
	}
	if p.cfg.Records != nil {
		if err := p.cfg.Records.Begin(r.Ref); err != nil {
			return pod.Image{}, &pod.Error{Class: pod.ErrImagePull, Err: err}
		}
	}
	p.event(r, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", r.Ref))
	began := time.Now()
	f := p.join(ctx, ref, auths(logins), r.Sandbox)
	var err error
	select {
	case <-f.done:
		err = f.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.leave(f)
	p.record(r, f, logins, err)
	if ctx.Err() != nil && err != nil {
		return pod.Image{}, ctx.Err()
	}
	if err != nil {
		if loginErr != nil {
			err = fmt.Errorf("%w (%w)", err, loginErr)
		}
		p.event(r, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", r.Ref, err))
		return pod.Image{}, classify(r.Ref, err)
	}
	p.event(r, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
		r.Ref, f.pulling.Truncate(time.Millisecond), time.Since(began).Truncate(time.Millisecond), f.image.Size))
	return pod.Image{Ref: r.Ref, ID: f.image.ID, Attempt: r.Attempt}, nil
}

// record notes how a pull ended, and with which of the pod's logins.
func (p *Puller) record(r Request, f *flight, logins []credentials.Login, err error) {
	switch {
	case p.cfg.Records == nil:
	case err != nil:
		p.cfg.Records.Failed(r.Ref)
	default:
		var with *credentials.Login
		for i := range logins {
			if logins[i].Auth == f.with {
				with = &logins[i]
				break
			}
		}
		p.cfg.Records.Done(r.Ref, f.image.ID, with)
	}
}

func auths(logins []credentials.Login) []cri.Auth {
	var out []cri.Auth
	for _, l := range logins {
		if !slices.Contains(out, l.Auth) {
			out = append(out, l.Auth)
		}
	}
	return out
}

// classify tells failures apart that a runtime names at the beginning of its text (CRI, pkg/errors).
func classify(ref string, err error) *pod.Error {
	for class, why := range map[string]string{
		pod.RegistryUnavailable: "the registry is unavailable", pod.SignatureValidationFailed: "the signature validation failed",
	} {
		if _, text, ok := strings.Cut(err.Error(), class); ok {
			return &pod.Error{Class: class, Err: fmt.Errorf("image pull failed for %s because %s%s", ref, why, text)}
		}
	}
	return &pod.Error{Class: pod.ErrImagePull, Err: err}
}

func (p *Puller) event(r Request, typ, reason, message string) {
	p.cfg.Events.Event(r.Pod, r.Container, typ, reason, message)
}

// normalize adds the tag that is meant where there is neither tag nor digest.
func normalize(ref string) (full string, latest bool, err error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		if strings.ToLower(ref) != ref {
			err = fmt.Errorf("%w; image names are lower case", err)
		}
		return "", false, sentence("Failed to apply default image tag %q: couldn't parse image name %q: %w", ref, ref, err)
	}
	if reference.IsNameOnly(named) {
		return ref + ":latest", true, nil
	}
	t, tagged := named.(reference.Tagged)
	_, digested := named.(reference.Digested)
	return ref, tagged && !digested && t.Tag() == "latest", nil
}

// sentence makes an error whose text stands in a pod's status and events as users know it: with a capital.
func sentence(format string, args ...any) error { return fmt.Errorf(format, args...) }
