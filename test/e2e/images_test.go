package e2e

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestPreload_ImportsArchivesAndPause starts a containerd without any image: the pause image comes from the agent's own
// binary, the others from archives, and a pod runs of them.
func TestPreload_ImportsArchivesAndPause(t *testing.T) {
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
			importer := images.NewImporter(c.SocketPath())
			imported, err := images.EnsureSandboxImages(t.Context(), c, importer, "")
			if err != nil || !slices.Contains(imported, testbed.PauseImage) {
				t.Fatalf("EnsureSandboxImages() = %v, %v", imported, err)
			}
			if again, err := images.EnsureSandboxImages(t.Context(), c, importer, ""); err != nil || len(again) != 0 {
				t.Errorf("EnsureSandboxImages() again = %v, %v", again, err)
			}
			assertRepairs(t, c, importer)

			dir := filepath.Join(e.Dir, "images")
			preload(t, dir, importer)
			// The harness's archive holds a pause image, too, which would replace ours.
			web := testbed.Images(t)[2]
			if err := errors.Join(os.MkdirAll(dir, 0o750), ociarchive.WriteFile(filepath.Join(dir, "web.tar"), web)); err != nil {
				t.Fatal(err)
			}
			if err := images.AwaitVisible(t.Context(), c, []string{testbed.WebImage}); err != nil {
				t.Fatal(err)
			}
			assertRuns(t, e, c)
			assertRefusals(t, dir, importer)
			assertEnsures(t, c)
		})
	}
}

func preload(t *testing.T, dir string, importer *images.Importer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := images.NewPreloader(dir, importer, nil, slog.New(slog.DiscardHandler)).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// assertRuns runs a container of the imported image in a sandbox of the embedded pause program, twice: the second time
// nothing is unpacked.
func assertRuns(t *testing.T, e *testbed.Env, c *cri.Client) {
	t.Helper()
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "web", Image: testbed.WebImage}}}}
	p.Name, p.Namespace, p.UID = "web", "default", "web-uid"
	for attempt := range uint32(2) {
		box, err := cri.Sandbox(cri.SandboxInput{Pod: p, Attempt: attempt, LogRoot: filepath.Join(e.Dir, "logs"), CgroupParent: e.CgroupRoot() + "/web"})
		if err != nil {
			t.Fatal(err)
		}
		sandbox, err := c.RunPodSandbox(t.Context(), box, "")
		if err != nil {
			t.Fatal(err)
		}
		image, err := c.ImageStatus(t.Context(), testbed.WebImage)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := cri.Container(cri.ContainerInput{Pod: p, Container: &p.Spec.Containers[0], QOS: v1.PodQOSBestEffort, Attempt: attempt})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Image.Image = image.ID
		if err := os.MkdirAll(filepath.Join(box.LogDirectory, "web"), 0o755); err != nil {
			t.Fatal(err)
		}
		id, err := c.CreateContainer(t.Context(), sandbox, cfg, box)
		if err == nil {
			err = c.StartContainer(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := errors.Join(c.StopContainer(t.Context(), id, 0), c.StopPodSandbox(t.Context(), sandbox), c.RemovePodSandbox(t.Context(), sandbox)); err != nil {
			t.Error(err)
		}
		t.Logf("attempt %d: stopped and removed in %s", attempt, time.Since(began).Round(time.Millisecond))
	}
}

func assertRefusals(t *testing.T, dir string, importer *images.Importer) {
	t.Helper()
	whole, err := os.ReadFile(filepath.Join(dir, "web.tar"))
	if err != nil {
		t.Fatal(err)
	}
	bad := t.TempDir()
	p := images.NewPreloader(bad, importer, nil, slog.New(slog.DiscardHandler))
	for name, content := range map[string][]byte{"text.tar": []byte("hello"), "half.tar": whole[:len(whole)/2], "empty.tar": nil} {
		if err := os.WriteFile(filepath.Join(bad, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = p.Pass(t.Context())
	for _, name := range []string{"text.tar", "half.tar", "empty.tar"} {
		if err == nil || !strings.Contains(err.Error(), filepath.Join(bad, name)) {
			t.Errorf("Pass() = %v, want an error that names %s", err, name)
		}
	}
	t.Log(err)
	if err := p.Pass(t.Context()); err != nil {
		t.Errorf("Pass() told the same twice: %v", err)
	}
	for range 2 {
		if err := images.NewPreloader(dir, importer, nil, slog.New(slog.DiscardHandler)).Pass(t.Context()); err != nil {
			t.Errorf("Pass() over what is there: %v", err)
		}
	}
}

type noEvents struct{}

func (noEvents) Event(*v1.Pod, string, string, string, string) {}

func assertEnsures(t *testing.T, c *cri.Client) {
	t.Helper()
	p := images.NewPuller(images.Config{Runtime: c, Events: noEvents{}})
	if i, err := p.Ensure(t.Context(), images.Request{Pod: &v1.Pod{}, Ref: testbed.WebImage, Policy: v1.PullNever}); err != nil || i.ID == "" {
		t.Errorf("Ensure() of a preloaded image = %+v, %v", i, err)
	}
	if _, err := p.Ensure(t.Context(), images.Request{Pod: &v1.Pod{}, Ref: "127.0.0.1:1/none:1", Policy: v1.PullIfNotPresent}); err == nil {
		t.Error("Ensure() of an image that nobody has: no error")
	} else {
		t.Log(err)
	}
	p.Wait()
}

// assertRepairs takes the words with which both versions say that they lack the image. They are not made to say them:
// they would ask a registry outside this machine first.
func assertRepairs(t *testing.T, c *cri.Client, importer *images.Importer) {
	t.Helper()
	for image, text := range map[string]string{
		"127.0.0.1:1/pause:a": `cannot run the pod sandbox: failed to get sandbox image "127.0.0.1:1/pause:a": failed to pull image "127.0.0.1:1/pause:a": no such host`,
		"127.0.0.1:1/pause:b": `cannot run the pod sandbox: failed to pull image "127.0.0.1:1/pause:b": failed to pull and unpack image`,
	} {
		repaired, err := images.RepairSandboxImage(t.Context(), c, importer, errors.New(text))
		have, statusErr := c.ImageStatus(t.Context(), image)
		if err := errors.Join(err, statusErr); err != nil || !repaired || have == nil {
			t.Errorf("RepairSandboxImage() = %v, %v; image %v", repaired, err, have)
		}
	}
	if repaired, err := images.RepairSandboxImage(t.Context(), c, importer, errors.New("no network")); err != nil || repaired {
		t.Errorf("RepairSandboxImage() of another failure = %v, %v", repaired, err)
	}
}
