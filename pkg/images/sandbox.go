package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"time"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images/pause"
)

// visible is how long the runtime's CRI service may take to show an image that was imported.
const visible = 10 * time.Second

// defaultSandboxImages are what containerd 2.x uses unless pinned_images names another. It does not tell over CRI.
var defaultSandboxImages = []string{"registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.2"}

// missingImage is how containerd names the image that it could not get for a sandbox.
var missingImage = regexp.MustCompile(`failed to (?:get sandbox|get|pull) image "([^"]+)"`)

// SandboxImages are the images that a runtime may want for its sandboxes: the one that its CRI status (Status.Info)
// names, as containerd 1.x does, else configured (podInfraContainerImage), else the defaults of containerd.
func SandboxImages(info map[string]string, configured string) []string {
	var config struct {
		SandboxImage string `json:"sandboxImage"`
	}
	// A runtime that says something else there does not say this.
	if json.Unmarshal([]byte(info["config"]), &config) == nil && config.SandboxImage != "" {
		return []string{config.SandboxImage}
	}
	if configured != "" {
		return []string{configured}
	}
	return defaultSandboxImages
}

// EnsureSandboxImages imports the embedded pause image under those names of SandboxImages that the runtime lacks, a few
// hundred bytes each, and returns them.
func EnsureSandboxImages(ctx context.Context, c *cri.Client, importer *Importer, configured string) (imported []string, err error) {
	status, err := c.Status(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, name := range SandboxImages(status.Info, configured) {
		ok, err := importPause(ctx, c, importer, name)
		if err != nil {
			return imported, err
		}
		if ok {
			imported = append(imported, name)
		}
	}
	return imported, nil
}

// RepairSandboxImage reads the error of a RunPodSandbox. If it is the lack of the sandbox image, the embedded pause image
// is imported in its place and the sandbox is worth another try at once.
func RepairSandboxImage(ctx context.Context, c *cri.Client, importer *Importer, failure error) (repaired bool, err error) {
	m := missingImage.FindStringSubmatch(failure.Error())
	if m == nil {
		return false, nil
	}
	return importPause(ctx, c, importer, m[1])
}

func importPause(ctx context.Context, c *cri.Client, importer *Importer, name string) (imported bool, err error) {
	if have, err := c.ImageStatus(ctx, name); err != nil || have != nil {
		return false, err
	}
	b, err := pause.Archive(name, runtime.GOARCH)
	if err != nil {
		return false, err
	}
	if _, err := importer.Import(ctx, bytes.NewReader(b)); err != nil {
		return false, fmt.Errorf("cannot import the pause image as %s: %w", name, err)
	}
	return true, AwaitVisible(ctx, c, []string{name})
}

// AwaitVisible returns when the runtime's CRI service shows images that were imported, which takes it a moment.
func AwaitVisible(ctx context.Context, r interface {
	ImageStatus(ctx context.Context, ref string) (*cri.Image, error)
}, names []string,
) error {
	ctx, cancel := context.WithTimeout(ctx, visible)
	defer cancel()
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for _, name := range names {
		for {
			have, err := r.ImageStatus(ctx, name)
			if err != nil {
				return err
			}
			if have != nil {
				break
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return fmt.Errorf("the container runtime does not show image %s %s after its import: %w", name, visible, ctx.Err())
			}
		}
	}
	return nil
}
