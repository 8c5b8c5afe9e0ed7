package testbed_test

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func TestRegistry_ContainerdPullsWithCredentialsOnly(t *testing.T) {
	e := testbed.New(t)
	cd := e.Containerd(testbed.ContainerdConfig{NoImages: true, NoNetwork: true})
	r := e.Registry(testbed.RegistryConfig{Auth: true})
	ref := r.Push(testbed.Images(t)[0], "private/pause", "1")
	pull := func(auth *runtimeapi.AuthConfig) error {
		_, err := cd.Images().PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}, Auth: auth})
		return err
	}
	if err := pull(nil); err == nil {
		t.Error("pulled without credentials")
	}
	if err := pull(&runtimeapi.AuthConfig{Username: testbed.RegistryUser, Password: testbed.RegistryPassword}); err != nil {
		t.Error(err)
	}
}
