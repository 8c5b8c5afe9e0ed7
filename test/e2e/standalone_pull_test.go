package e2e

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const puller = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "%s", imagePullPolicy: %s, command: [/web, exit, "0"]}]
  restartPolicy: Never
`

func pulling(name, image, policy string) string {
	return pods(fmt.Sprintf(puller, name, image, policy))
}

// TestStandalonePull pulls from a real registry under each policy, and fails in each way that pulls fail.
func TestStandalonePull(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	r := s.env.Registry(testbed.RegistryConfig{})
	web := testbed.Images(t)[2]
	always, once := r.Push(web, "always", "1"), r.Push(web, "once", "1")
	const nowhere = "127.0.0.1:1/nothing/here:1"
	s.WriteManifest("pods.yaml", pulling("always", always, "Always")+pulling("once", once, "IfNotPresent")+
		pulling("never", r.Host+"/never:1", "Never")+pulling("missing", r.Host+"/missing:1", "IfNotPresent")+
		pulling("down", nowhere, "IfNotPresent")+pulling("misnamed", "Not/A:Valid:Name", "IfNotPresent"))

	t.Run("Always and IfNotPresent pull what is not there", func(t *testing.T) {
		s := s.on(t)
		for name, ref := range map[string]string{"always": always, "once": once} {
			p := s.phase(name, v1.PodSucceeded)
			s.event(name, "Pulling", fmt.Sprintf("Pulling image %q", ref))
			s.event(name, "Pulled", fmt.Sprintf("Successfully pulled image %q in ", ref))
			if c := container(p, "c"); !strings.HasPrefix(c.Image, r.Host) || !strings.Contains(c.ImageID, "@sha256:") {
				t.Errorf("image %s, %s", c.Image, c.ImageID)
			}
		}
	})
	t.Run("IfNotPresent takes what is there and Always asks the registry", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("again.yaml", pulling("always2", always, "Always")+pulling("once2", once, "IfNotPresent")+pulling("never2", once, "Never"))
		s.phase("always2", v1.PodSucceeded)
		s.event("always2", "Pulled", fmt.Sprintf("Successfully pulled image %q in ", always))
		s.phase("once2", v1.PodSucceeded)
		s.event("once2", "Pulled", fmt.Sprintf("Container image %q already present on machine", once))
		s.phase("never2", v1.PodSucceeded)
	})
	t.Run("Never does not pull", func(t *testing.T) {
		s := s.on(t)
		s.until("never", "waits for its image", waits("c", "ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", r.Host+"/never:1")))
		s.event("never", "ErrImageNeverPull", "is not present with pull policy of Never")
	})
	t.Run("an image that the registry lacks backs off", func(t *testing.T) {
		s := s.on(t)
		ref := r.Host + "/missing:1"
		p := s.until("missing", "backs off", waits("c", "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q", ref)))
		if p.Status.Phase != v1.PodPending {
			t.Errorf("phase %s", p.Status.Phase)
		}
		s.event("missing", "Failed", fmt.Sprintf("Failed to pull image %q: ", ref))
		s.event("missing", "Failed", "Error: ErrImagePull")
		s.event("missing", "BackOff", fmt.Sprintf("Back-off pulling image %q", ref))
		s.event("missing", "Failed", "Error: ImagePullBackOff")
	})
	t.Run("a registry that does not answer is told", func(t *testing.T) {
		s.on(t).until("down", "backs off", waits("c", "ImagePullBackOff", "connection refused"))
	})
	t.Run("a name that is none is told", func(t *testing.T) {
		s := s.on(t)
		s.until("misnamed", "says so", waits("c", "InvalidImageName", "Not/A:Valid:Name"))
		s.event("misnamed", "InspectFailed", `Failed to apply default image tag "Not/A:Valid:Name"`)
	})
	t.Run("a corrected image starts at once", func(t *testing.T) {
		s := s.on(t)
		r.Push(ociarchive.Image{Ref: "missing", Files: web.Files, Config: web.Config}, "here", "1")
		s.WriteManifest("pods.yaml", pulling("missing", r.Host+"/here:1", "IfNotPresent"))
		s.phase("missing", v1.PodSucceeded)
	})
	t.Run("nothing stays", func(t *testing.T) {
		s := s.on(t)
		s.RemoveManifest("again.yaml")
		s.gone("pods.yaml")
	})
}
