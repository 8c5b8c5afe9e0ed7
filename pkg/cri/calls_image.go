package cri

import (
	"context"
	"errors"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is an image of the runtime.
type Image struct {
	ID       string // as ContainerConfig.Image wants it
	Tags     []string
	Digests  []string // repo@sha256:...
	Size     uint64   // bytes
	UID      *int64   // the numeric user that the image names; nil when it names none or names it by name
	Username string   // the user that the image names by name
	Pinned   bool     // the runtime never removes it
}

// Auth is one way to log in at a registry. The zero value is anonymous. It is secret: never print it.
type Auth struct {
	Username, Password           string
	Server                       string
	IdentityToken, RegistryToken string
}

// ImageStatus returns the image that ref (a name or an ID) stands for, or nil when the runtime does not have it.
func (c *Client) ImageStatus(ctx context.Context, ref string) (*Image, error) {
	r, err := call(ctx, c.op("look for image "+ref), c.images.ImageStatus,
		&runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if errors.Is(err, ErrNotFound) || err == nil && r.Image == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i := image(r.Image)
	return &i, nil
}

// PullImage pulls an image and returns its ID. It has no deadline but the context's: the runtime ends a pull that makes
// no progress (containerd: image_pull_progress_timeout, 5 minutes).
func (c *Client) PullImage(ctx context.Context, ref string, auth Auth, sandbox *runtimeapi.PodSandboxConfig) (id string, err error) {
	q := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}, SandboxConfig: sandbox}
	if auth != (Auth{}) {
		q.Auth = &runtimeapi.AuthConfig{
			Username: auth.Username, Password: auth.Password, ServerAddress: auth.Server,
			IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
		}
	}
	r, err := call(ctx, operation{c, 0, "pull image " + ref}, c.images.PullImage, q)
	return r.GetImageRef(), err
}

// ListImages lists every image.
func (c *Client) ListImages(ctx context.Context) ([]Image, error) {
	r, err := call(ctx, c.op("list images"), c.images.ListImages, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	out := make([]Image, 0, len(r.Images))
	for _, i := range r.Images {
		if i.GetId() != "" {
			out = append(out, image(i))
		}
	}
	return out, nil
}

// RemoveImage removes an image and all its names. An image that is gone is removed.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	_, err := call(ctx, c.op("remove image "+ref), c.images.RemoveImage,
		&runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	return ignoreNotFound(err)
}

// Filesystem is one filesystem of the runtime.
type Filesystem struct {
	Mountpoint string
	UsedBytes  uint64
	InodesUsed uint64
}

// ImageFilesystems returns where the runtime keeps images and the writable layers of containers; a runtime that does not
// tell them apart names no container filesystems.
func (c *Client) ImageFilesystems(ctx context.Context) (images, containers []Filesystem, err error) {
	r, err := call(ctx, c.op("ask for the image filesystem"), c.images.ImageFsInfo, &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		return nil, nil, err
	}
	return filesystems(r.ImageFilesystems), filesystems(r.ContainerFilesystems), nil
}

func filesystems(in []*runtimeapi.FilesystemUsage) []Filesystem {
	var out []Filesystem
	for _, f := range in {
		out = append(out, Filesystem{
			Mountpoint: f.GetFsId().GetMountpoint(), UsedBytes: f.GetUsedBytes().GetValue(), InodesUsed: f.GetInodesUsed().GetValue(),
		})
	}
	return out
}

func image(i *runtimeapi.Image) Image {
	out := Image{ID: i.Id, Tags: i.RepoTags, Digests: i.RepoDigests, Size: i.Size, Username: i.Username, Pinned: i.Pinned}
	if i.Uid != nil {
		out.UID = new(i.Uid.Value)
	}
	return out
}
