package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images/credentials"
	"github.com/minikubelet/minikubelet/pkg/images/pulled"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// registry is a runtime whose pulls take a second. Password, when set, is the one that works.
type registry struct {
	mu       sync.Mutex
	have     map[string]bool
	password string
	err      error
	pulls    []string // ref, then the user that logged in
	now, max int      // pulls at a time
	canceled int
}

func (r *registry) ImageStatus(_ context.Context, ref string) (*cri.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.have[ref] && !strings.HasPrefix(ref, "id-") {
		return nil, nil
	}
	return &cri.Image{ID: "id-" + strings.TrimPrefix(ref, "id-"), Size: 42}, nil
}

func (r *registry) PullImage(ctx context.Context, ref string, a cri.Auth, _ *runtimeapi.PodSandboxConfig) (string, error) {
	r.mu.Lock()
	r.pulls = append(r.pulls, strings.TrimSpace(ref+" "+a.Username))
	r.now++
	r.max = max(r.max, r.now)
	r.mu.Unlock()
	defer func() { r.mu.Lock(); r.now--; r.mu.Unlock() }()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		r.mu.Lock()
		r.canceled++
		r.mu.Unlock()
		return "", ctx.Err()
	}
	if r.err != nil {
		return "", r.err
	}
	if a.Password != r.password {
		return "", errors.New("access denied")
	}
	return "id-" + ref, nil
}

type recorded struct {
	mu   sync.Mutex
	list []string
}

func (r *recorded) Event(_ *v1.Pod, container, typ, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, strings.Join([]string{container, typ, reason, message}, "|"))
}

func TestEnsure_FollowsPolicy(t *testing.T) {
	const present = `c|Normal|Pulled|Container image "web:1" already present on machine`
	pulled := []string{`c|Normal|Pulling|Pulling image "web:1"`, `c|Normal|Pulled|Successfully pulled image "web:1" in 1s (1s including waiting). Image size: 42 bytes.`}
	tests := map[string]struct {
		ref    string
		policy v1.PullPolicy
		have   bool
		err    error
		class  string
		events []string
	}{
		"present":            {policy: v1.PullIfNotPresent, have: true, events: []string{present}},
		"absent":             {policy: v1.PullIfNotPresent, events: pulled},
		"always":             {policy: v1.PullAlways, have: true, events: pulled},
		"never, present":     {policy: v1.PullNever, have: true, events: []string{present}},
		"never, absent":      {policy: v1.PullNever, class: pod.ErrImageNeverPull, events: []string{`c|Warning|ErrImageNeverPull|Container image "web:1" is not present with pull policy of Never`, `c|Warning|Failed|Error: ErrImageNeverPull`}},
		"no policy, a tag":   {have: true, events: []string{present}},
		"no policy, no tag":  {ref: "web", have: true, events: []string{`c|Normal|Pulling|Pulling image "web"`, `c|Normal|Pulled|Successfully pulled image "web" in 1s (1s including waiting). Image size: 42 bytes.`}},
		"a bad signature":    {policy: v1.PullAlways, err: errors.New("cannot pull image web:1: SignatureValidationFailed: no key"), class: pod.SignatureValidationFailed, events: []string{pulled[0], `c|Warning|Failed|Failed to pull image "web:1": cannot pull image web:1: SignatureValidationFailed: no key`, `c|Warning|Failed|Error: SignatureValidationFailed`}},
		"the registry fails": {policy: v1.PullAlways, err: errors.New("no such host"), class: pod.ErrImagePull, events: []string{pulled[0], `c|Warning|Failed|Failed to pull image "web:1": no such host`, `c|Warning|Failed|Error: ErrImagePull`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.ref == "" {
					tt.ref = "web:1"
				}
				rt, ev := &registry{have: map[string]bool{tt.ref: tt.have, tt.ref + ":latest": tt.have}, err: tt.err}, &recorded{}
				p := NewPuller(Config{Runtime: rt, Events: ev})
				got, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Container: "c", Ref: tt.ref, Policy: tt.policy, Attempt: 3})
				checkClass(t, err, tt.class)
				if tt.class == "" && (got.Ref != tt.ref || got.Attempt != 3 || !strings.HasPrefix(got.ID, "id-web:")) {
					t.Errorf("Ensure() = %+v", got)
				}
				if diff := cmp.Diff(tt.events, ev.list); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				p.Wait()
			})
		})
	}
}

func checkClass(t *testing.T, err error, want string) {
	t.Helper()
	var got string
	if e, ok := errors.AsType[*pod.Error](err); ok {
		got = e.Class
	}
	if got != want || (err != nil) != (want != "") {
		t.Errorf("error %v of class %q, want class %q", err, got, want)
	}
}

func TestEnsure_RefusesBadNames(t *testing.T) {
	p := NewPuller(Config{Runtime: &registry{}, Events: &recorded{}})
	for _, ref := range []string{"", "Web", "a b", "web:", "web@sha256:12"} {
		_, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Ref: ref})
		checkClass(t, err, pod.InvalidImageName)
	}
}

func TestEnsure_SharesPulls(t *testing.T) {
	secret := dockerConfig(`{"auths":{"docker.io":{"username":"u","password":"p"}}}`)
	tests := map[string]struct {
		cfg       Config
		requests  []Request
		pulls, at int
	}{
		"of one image":                  {requests: []Request{{Ref: "a"}, {Ref: "a"}, {Ref: "a:latest"}}, pulls: 1, at: 1},
		"not with other credentials":    {requests: []Request{{Ref: "a"}, {Ref: "a", Secrets: these(secret)}}, pulls: 3, at: 2},
		"not of other images":           {requests: []Request{{Ref: "a"}, {Ref: "b"}, {Ref: "c"}}, pulls: 3, at: 3},
		"one at a time when serialized": {cfg: Config{Serialize: true}, requests: []Request{{Ref: "a"}, {Ref: "b"}, {Ref: "c"}}, pulls: 3, at: 1},
		"two at a time when so many":    {cfg: Config{MaxParallel: 2}, requests: []Request{{Ref: "a"}, {Ref: "b"}, {Ref: "c"}}, pulls: 3, at: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := &registry{}
				tt.cfg.Runtime, tt.cfg.Events = rt, &recorded{}
				p := NewPuller(tt.cfg)
				var wg sync.WaitGroup
				for _, r := range tt.requests {
					r.Pod = &v1.Pod{}
					wg.Go(func() {
						if _, err := p.Ensure(t.Context(), r); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				p.Wait()
				if len(rt.pulls) != tt.pulls || rt.max != tt.at {
					t.Errorf("%d pulls, %d at a time; want %d and %d", len(rt.pulls), rt.max, tt.pulls, tt.at)
				}
			})
		})
	}
}

func TestEnsure_EndsAPullThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &registry{}
		p := NewPuller(Config{Runtime: rt, Events: &recorded{}})
		ctx1, cancel1 := context.WithCancel(t.Context())
		ctx2, cancel2 := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, ctx := range []context.Context{ctx1, ctx2} {
			wg.Go(func() {
				if _, err := p.Ensure(ctx, Request{Pod: &v1.Pod{}, Ref: "a"}); !errors.Is(err, context.Canceled) {
					t.Errorf("Ensure() = %v", err)
				}
			})
		}
		synctest.Wait()
		cancel1()
		synctest.Wait()
		if rt.canceled != 0 {
			t.Error("the first to leave ended the pull of the other")
		}
		cancel2()
		wg.Wait()
		p.Wait()
		if rt.canceled != 1 {
			t.Error("the pull went on for nobody")
		}
	})
}

func TestEnsure_TriesLoginsThenNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, ev := &registry{password: "right"}, &recorded{}
		p := NewPuller(Config{Runtime: rt, Events: ev})
		secrets := []v1.Secret{
			dockerConfig(`{"auths":{"r.example":{"username":"wrong","password":"x"},"r.example/team":{"username":"mine","password":"right"}}}`),
		}
		if _, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Ref: "r.example/team/a:1", Secrets: these(secrets...)}); err != nil {
			t.Fatal(err)
		}
		_, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Ref: "r.example/other/a:1", Secrets: these(append(secrets, dockerConfig("{"))...)})
		checkClass(t, err, pod.ErrImagePull)
		if want := "access denied (cannot read pull secret ns/s: key .dockerconfigjson is missing or not valid JSON"; !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
		want := []string{"r.example/team/a:1 mine", "r.example/other/a:1 wrong", "r.example/other/a:1"}
		if diff := cmp.Diff(want, rt.pulls); diff != "" {
			t.Errorf("pulls (-want +got):\n%s", diff)
		}
	})
}

func these(secrets ...v1.Secret) func() []v1.Secret { return func() []v1.Secret { return secrets } }

func dockerConfig(content string) v1.Secret {
	s := v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(content)}}
	s.Name, s.Namespace = "s", "ns"
	return s
}

func TestEnsure_RefusesPullsBeyondTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &registry{}
		p := NewPuller(Config{Runtime: rt, Events: &recorded{}, QPS: 0.5, Burst: 1})
		ensure := func(ref string) error {
			_, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Ref: ref})
			return err
		}
		if err := ensure("a"); err != nil {
			t.Error(err)
		}
		err := ensure("b")
		checkClass(t, err, pod.ErrImagePull)
		if err == nil || err.Error() != "pull QPS exceeded" {
			t.Errorf("error %v", err)
		}
		time.Sleep(2 * time.Second) // of the bubble's clock
		if err := ensure("b"); err != nil {
			t.Error(err)
		}
		p.Wait()
	})
}

// TestEnsure_GivesAPrivateImageToThoseWhoMayPullIt walks through who may use an image that one pod's secret brought.
func TestEnsure_GivesAPrivateImageToThoseWhoMayPullIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ref = "r.example/team/a:1"
		rt, dir := &registry{password: "right", have: map[string]bool{}}, t.TempDir()
		open := func(policy pulled.Policy) *Puller {
			records, err := pulled.Open(dir, policy, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return NewPuller(Config{Runtime: rt, Events: &recorded{}, Records: records})
		}
		secret := func(name, password string) v1.Secret {
			s := dockerConfig(`{"auths":{"r.example":{"username":"` + name + `","password":"` + password + `"}}}`)
			s.Name, s.UID = name, types.UID("uid-"+name)
			return s
		}
		p := open(pulled.Policy{})
		ensure := func(policy v1.PullPolicy, secrets ...v1.Secret) error {
			t.Helper()
			_, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Ref: ref, Policy: policy, Secrets: these(secrets...)})
			return err
		}
		pulls := func(want int, what string) {
			t.Helper()
			if len(rt.pulls) != want {
				t.Errorf("%s: %d pulls, want %d: %q", what, len(rt.pulls), want, rt.pulls)
			}
			rt.pulls = nil
		}
		checkClass(t, ensure(v1.PullIfNotPresent, secret("mine", "right")), "")
		pulls(1, "the first")
		rt.have[ref] = true
		checkClass(t, ensure(v1.PullIfNotPresent, secret("mine", "right")), "")
		checkClass(t, ensure(v1.PullNever, secret("mine", "rotated")), "") // the same secret, whatever it holds
		checkClass(t, ensure(v1.PullIfNotPresent, secret("other", "wrong"), secret("mine", "right")), "")
		pulls(0, "with the secret")
		checkClass(t, ensure(v1.PullIfNotPresent), pod.ErrImagePull)
		pulls(1, "without a secret")
		checkClass(t, ensure(v1.PullNever), pod.ErrImageNeverPull)
		checkClass(t, ensure(v1.PullNever, secret("other", "wrong")), pod.ErrImageNeverPull)
		pulls(0, "Never")
		checkClass(t, ensure(v1.PullIfNotPresent, secret("other", "right")), "")
		pulls(1, "with another secret that may")
		checkClass(t, ensure(v1.PullNever, secret("other", "right")), "")
		p = open(pulled.Policy{}) // the agent is started again
		checkClass(t, ensure(v1.PullNever, secret("other", "right")), "")
		checkClass(t, ensure(v1.PullNever), pod.ErrImageNeverPull)
		p = open(pulled.Policy{Mode: kubelet.NeverVerify})
		checkClass(t, ensure(v1.PullNever), "")
		rt.password = "" // the image becomes public
		p = open(pulled.Policy{})
		checkClass(t, ensure(v1.PullIfNotPresent), "")
		pulls(1, "when it is public")
		checkClass(t, ensure(v1.PullNever), "")
		p.Wait()
	})
}

func TestPresent_LooksAndTellsNobody(t *testing.T) {
	const ref = "r.example/team/a:1"
	for name, tt := range map[string]struct {
		ref    string
		policy v1.PullPolicy
		have   bool
		want   bool
	}{
		"there":                    {ref: ref, have: true, want: true},
		"there, and never pulled":  {ref: ref, policy: v1.PullNever, have: true, want: true},
		"not there":                {ref: ref, policy: v1.PullIfNotPresent},
		"there, and always pulled": {ref: ref, policy: v1.PullAlways, have: true},
		"the latest":               {ref: "a:latest", have: true},
		"no name":                  {ref: "A:", have: true},
	} {
		t.Run(name, func(t *testing.T) {
			rt, ev := &registry{have: map[string]bool{tt.ref: tt.have}}, &recorded{}
			p := NewPuller(Config{Runtime: rt, Events: ev})
			got, err := p.usable(t.Context(), Request{Pod: &v1.Pod{}, Container: "c", Ref: tt.ref, Policy: tt.policy})
			if err != nil || got != tt.want || len(rt.pulls)+len(ev.list) > 0 {
				t.Errorf("Present() = %v, %v; want %v; pulls %q, events %q", got, err, tt.want, rt.pulls, ev.list)
			}
		})
	}
}

// The image is somebody's: it is found for those alone who may have it, without a question to a credential provider.
func TestPresent_FindsAPrivateImageForThoseWhoMayHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ref = "r.example/team/a:1"
		rt := &registry{password: "right", have: map[string]bool{}}
		records, err := pulled.Open(t.TempDir(), pulled.Policy{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p := NewPuller(Config{Runtime: rt, Events: &recorded{}, Records: records, Logins: func(context.Context, *v1.Pod, string) ([]credentials.Login, error) {
			if rt.have[ref] {
				t.Error("a look asks for the node's logins")
			}
			return nil, nil
		}})
		secret := dockerConfig(`{"auths":{"r.example":{"username":"u","password":"right"}}}`)
		if _, err := p.Ensure(t.Context(), Request{Pod: &v1.Pod{}, Ref: ref, Secrets: these(secret)}); err != nil {
			t.Fatal(err)
		}
		rt.have[ref] = true
		for name, secrets := range map[string][]v1.Secret{"mine": {secret}, "none": nil} {
			got, err := p.usable(t.Context(), Request{Pod: &v1.Pod{}, Ref: ref, Secrets: these(secrets...)})
			if err != nil || got != (secrets != nil) {
				t.Errorf("with %s: %v, %v", name, got, err)
			}
		}
		p.Wait()
	})
}

// An API server that does not answer must not hold up what is on the node.
func TestEnsure_AsksForSecretsOnlyWhenItPulls(t *testing.T) {
	rt := &registry{have: map[string]bool{"web:1": true}}
	p := &PodPuller{
		Puller: NewPuller(Config{Runtime: rt, Events: &recorded{}}), Event: (&recorded{}).Event,
		Objects: objects.NewStore(away{t}),
	}
	pd := &v1.Pod{Spec: v1.PodSpec{ImagePullSecrets: []v1.LocalObjectReference{{Name: "team"}}}}
	if _, err := p.Ensure(t.Context(), pd, &v1.Container{Name: "c", Image: "web:1"}, 0); err != nil {
		t.Error(err)
	}
	if _, err := p.EnsureVolume(t.Context(), pd, &v1.ImageVolumeSource{Reference: "web:1"}); err != nil {
		t.Error(err)
	}
}

func TestEnsure_CountsEachPullWithTheWaitForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		p := NewPuller(Config{Runtime: &registry{}, Events: &recorded{}, Serialize: true, Pulled: func(bytes int64, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(bytes, " ", took))
		}})
		var wg sync.WaitGroup
		for _, ref := range []string{"a", "a", "b"} {
			wg.Go(func() {
				if _, err := p.Ensure(t.Context(), Request{Ref: ref}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		p.Wait()
		if d := cmp.Diff([]string{"42 1s", "42 2s"}, got); d != "" {
			t.Error(d)
		}
	})
}

// away is an API server that must not be asked.
type away struct{ t *testing.T }

func (a away) Get(context.Context, objects.Key) (objects.Object, error) {
	a.t.Error("the API server was asked for an object")
	return nil, errors.New("it is away")
}
