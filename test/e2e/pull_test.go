package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

type pullEvents struct {
	mu   sync.Mutex
	list []string
}

func (e *pullEvents) Event(_ *v1.Pod, container, typ, reason, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf("%s %s %s: %s", container, typ, reason, message))
}

// TestPull_UsesPullSecrets pulls from a real registry that asks for a password: without one, with a wrong one, with the
// right one, and what is there already.
func TestPull_UsesPullSecrets(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2.4", "1.6"} {
		t.Run("containerd "+version, func(t *testing.T) {
			e := testbed.New(t)
			cd := e.Containerd(testbed.ContainerdConfig{Version: version, NoImages: true})
			c, err := cri.New(cd.Endpoint())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			r := e.Registry(testbed.RegistryConfig{Auth: true})
			ref := r.Push(testbed.Images(t)[2], "team/web", "1")
			ev := &pullEvents{}
			p := images.NewPuller(images.Config{Runtime: c, Events: ev})
			ensure := func(policy v1.PullPolicy, secrets ...v1.Secret) (pod.Image, error) {
				return p.Ensure(t.Context(), images.Request{Pod: &v1.Pod{}, Container: "web", Ref: ref, Policy: policy, Secrets: func() []v1.Secret { return secrets }})
			}
			for what, secrets := range map[string][]v1.Secret{
				"no secret": nil, "a wrong one": {pullSecret(r.Host, "wrong")}, "one for elsewhere": {pullSecret("r.example", testbed.RegistryPassword)},
			} {
				_, err := ensure(v1.PullIfNotPresent, secrets...)
				if e, ok := errors.AsType[*pod.Error](err); !ok || e.Class != pod.ErrImagePull {
					t.Errorf("with %s: %v, want ErrImagePull", what, err)
				}
				if err != nil && strings.Contains(err.Error(), testbed.RegistryPassword) {
					t.Errorf("with %s: the error tells the password", what)
				}
			}
			secrets := []v1.Secret{pullSecret(r.Host, "wrong"), pullSecret(r.Host+"/team", testbed.RegistryPassword)}
			got, err := ensure(v1.PullIfNotPresent, secrets...)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ensure(v1.PullAlways, secrets...)
			if err != nil || again.ID != got.ID {
				t.Errorf("pulled again: %v, %v; want %s", again, err, got.ID)
			}
			if have, err := ensure(v1.PullNever); err != nil || have.ID != got.ID {
				t.Errorf("what is there: %v, %v; want %s", have, err, got.ID)
			}
			want := regexp.MustCompile(`^web Normal Pulled: Successfully pulled image "` + regexp.QuoteMeta(ref) + `" in [0-9.]+m?s \([0-9.]+m?s including waiting\)\. Image size: [1-9][0-9]+ bytes\.$`)
			if !slices.ContainsFunc(ev.list, want.MatchString) {
				t.Errorf("events %q, want one like %s", ev.list, want)
			}
			t.Log(strings.Join(ev.list, "\n"))
			p.Wait()
		})
	}
}

func pullSecret(host, password string) v1.Secret {
	config := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, host, testbed.RegistryUser, password)
	s := v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(config)}}
	s.Name, s.Namespace = "pull", "default"
	return s
}
