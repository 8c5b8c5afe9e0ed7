package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/content"
	contentproxy "github.com/containerd/containerd/v2/core/content/proxy"
	containerd "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/core/leases"
	leasesproxy "github.com/containerd/containerd/v2/core/leases/proxy"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

const (
	criNamespace = "k8s.io"       // of containerd's: where its CRI service keeps images
	importLease  = 24 * time.Hour // after which containerd drops the content of an import that was cut off
	callTimeout  = time.Minute
	maxIndex     = 4 << 20 // bytes of an archive's index.json
)

// errNotContainerd is the error of a runtime that has no containerd API, such as CRI-O.
var errNotContainerd = errors.New("the container runtime has no containerd API to import images with")

var errUnavailable = errors.New("containerd does not answer")

// Importer imports image archives into containerd through containerd's own API, on a connection of its own that is
// there only while it works.
type Importer struct{ socket string }

// NewImporter returns an importer for the containerd at the path of a socket.
func NewImporter(socket string) *Importer { return &Importer{socket: socket} }

// store is containerd's API during one import.
type store struct {
	content content.Store
	images  imagesapi.ImagesClient
}

// Import reads an archive (OCI image layout or docker save, may be compressed with gzip or zstd) and names in the runtime what
// it holds for this platform, as ctr does. Images without a name are left out. It returns the names, with an error those that
// could be taken; the runtime's CRI service shows them a moment later. What is there already, by name and digest, is not read
// again when r is a seeker.
func (i *Importer) Import(ctx context.Context, r io.Reader) (names []string, err error) {
	conn, err := grpc.NewClient("unix://"+i.socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("cannot connect to containerd: %w", err)
	}
	defer conn.Close()
	ctx = namespaces.WithNamespace(ctx, criNamespace)
	s := store{content: contentproxy.NewContentStore(contentapi.NewContentClient(conn)), images: imagesapi.NewImagesClient(conn)}
	if names, ok, err := s.present(ctx, r); err != nil || ok {
		return names, err
	}
	manager := leasesproxy.NewLeaseManager(leasesapi.NewLeasesClient(conn))
	lease, err := manager.Create(ctx, leases.WithRandomID(), leases.WithExpiration(importLease))
	if err != nil {
		return nil, fmt.Errorf("cannot begin the import: %w", mapped(err))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		err = errors.Join(err, manager.Delete(ctx, lease))
	}()
	return s.read(leases.WithLease(ctx, lease.ID), r)
}

// read takes an archive's content in and names its images. When some cannot be named, the names of the others come with the
// error.
func (s store) read(ctx context.Context, r io.Reader) (names []string, err error) {
	plain, err := compression.DecompressStream(r)
	if err != nil {
		return nil, fmt.Errorf("cannot decompress it: %w", err)
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	index, err := archive.ImportIndex(ctx, s.content, plain)
	if err != nil {
		return nil, fmt.Errorf("cannot read it as an image archive: %w", mapped(err))
	}
	return s.name(ctx, index)
}

// retriable reports whether an import failed for want of containerd and not because of the archive.
func retriable(err error) bool {
	return errors.Is(err, errUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

func mapped(err error) error {
	if status.Code(err) == codes.Unavailable || errdefs.IsUnavailable(err) {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("%w: %w", errNotContainerd, err)
	}
	return err
}

// name gives the images of an index their names. Each manifest is linked to its parts, which keeps them from
// containerd's garbage collection, before the name exists.
func (s store) name(ctx context.Context, index ocispec.Descriptor) ([]string, error) {
	b, err := content.ReadBlob(ctx, s.content, index)
	if err != nil {
		return nil, fmt.Errorf("cannot read the archive's index: %w", err)
	}
	found, err := named(b)
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, f := range found {
		target, err := s.target(ctx, f)
		if err == nil {
			err = containerd.WalkNotEmpty(ctx, containerd.SetChildrenLabels(s.content, containerd.HandlerFunc(s.parts)), target)
		}
		if err == nil {
			err = s.put(ctx, f.name, target)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot import image %s: %w", f.name, mapped(err)))
			continue
		}
		names = append(names, f.name)
	}
	return names, errors.Join(errs...)
}

// put creates or moves a name. It sets no labels: the runtime's CRI service labels an image when it has taken it in, and
// one that carries the label already it would pass over.
func (s store) put(ctx context.Context, name string, target ocispec.Descriptor) error {
	image := &imagesapi.Image{Name: name, Target: &types.Descriptor{
		MediaType: target.MediaType, Digest: target.Digest.String(), Size: target.Size, Annotations: target.Annotations,
	}}
	_, err := s.images.Create(ctx, &imagesapi.CreateImageRequest{Image: image})
	if status.Code(err) == codes.AlreadyExists {
		_, err = s.images.Update(ctx, &imagesapi.UpdateImageRequest{Image: image, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"target"}}})
	}
	return err
}

// present looks into the index of an archive, without reading its layers, and reports whether all its images are there.
func (s store) present(ctx context.Context, r io.Reader) (names []string, ok bool, err error) {
	seeker, seekable := r.(io.Seeker)
	if !seekable {
		return nil, false, nil
	}
	b := indexIn(r)
	if _, err := seeker.Seek(0, io.SeekStart); err != nil {
		return nil, false, fmt.Errorf("cannot read it again: %w", err)
	}
	found, err := named(b)
	if err != nil { // another format, or garbled: the import says which
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, f := range found {
		have, err := s.images.Get(ctx, &imagesapi.GetImageRequest{Name: f.name})
		if err != nil && status.Code(err) != codes.NotFound {
			return nil, false, fmt.Errorf("cannot ask containerd for image %s: %w", f.name, mapped(err))
		}
		digest := have.GetImage().GetTarget().GetDigest()
		if !slices.ContainsFunc(f.targets, func(d ocispec.Descriptor) bool { return d.Digest.String() == digest }) {
			return nil, false, nil
		}
		names = append(names, f.name)
	}
	return names, true, nil
}

// indexIn returns the index.json of an OCI archive, which may be compressed, or nothing.
func indexIn(r io.Reader) []byte {
	plain, err := compression.DecompressStream(r)
	if err != nil {
		return nil
	}
	defer plain.Close()
	return indexOf(plain)
}

// indexOf returns the index.json of an OCI archive that is not compressed, or nothing.
func indexOf(r io.Reader) []byte {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err != nil {
			return nil
		}
		if strings.TrimPrefix(h.Name, "./") == ocispec.ImageIndexFile {
			b, err := io.ReadAll(io.LimitReader(t, maxIndex))
			if err != nil {
				return nil
			}
			return b
		}
	}
}
