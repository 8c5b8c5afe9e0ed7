package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	containerd "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// namedImage is a name of an archive's index with what it may stand for: one image, or one for each of several platforms.
type namedImage struct {
	name    string
	targets []ocispec.Descriptor
}

// named reads the images of an index that have full names. An index without any is an error.
func named(index []byte) ([]namedImage, error) {
	var idx ocispec.Index
	if err := json.Unmarshal(index, &idx); err != nil {
		return nil, fmt.Errorf("cannot read the archive's index: %w", err)
	}
	var out []namedImage
	nameless := errors.New("the archive names no image")
	for _, m := range idx.Manifests {
		name := m.Annotations[containerd.AnnotationImageName]
		if name == "" {
			name = m.Annotations[ocispec.AnnotationRefName]
		}
		if name == "" || !strings.ContainsAny(name, "/:@") {
			nameless = fmt.Errorf("image %s in the archive has no full name (%q): give it the annotation %s, such as docker.io/library/web:1",
				m.Digest, name, containerd.AnnotationImageName)
			continue
		}
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fmt.Errorf("image %s in the archive has the name %q: %w", m.Digest, name, err)
		}
		full := reference.TagNameOnly(ref).String()
		if i := slices.IndexFunc(out, func(f namedImage) bool { return f.name == full }); i >= 0 {
			out[i].targets = append(out[i].targets, m)
			continue
		}
		out = append(out, namedImage{full, []ocispec.Descriptor{m}})
	}
	if len(out) == 0 {
		return nil, nameless
	}
	return out, nil
}

var errIncomplete = errors.New("it is incomplete")

// target is what a name stands for on this platform: the best that is there whole.
func (s store) target(ctx context.Context, f namedImage) (ocispec.Descriptor, error) {
	whole, err := s.here(ctx, f.targets)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return whole[0], nil
}

// parts are what belongs to an image, or to an index of images: of that, what is for this platform and whole. An archive
// that was exported from a node lists images of platforms that the node never had.
func (s store) parts(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	children, err := containerd.Children(ctx, s.content, d)
	if err != nil || !containerd.IsIndexType(d.MediaType) {
		return children, err
	}
	return s.here(ctx, children)
}

// here picks the images that are for this platform and whole, the best first. None is an error.
func (s store) here(ctx context.Context, images []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	platform := platforms.Default()
	var out []ocispec.Descriptor
	err := fmt.Errorf("nothing in it is for %s", platforms.DefaultString())
	for _, d := range images {
		if d.Platform != nil && !platform.Match(*d.Platform) {
			continue
		}
		if lacks := s.whole(ctx, d); lacks != nil {
			err = lacks
			continue
		}
		out = append(out, d)
	}
	if len(out) == 0 {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b ocispec.Descriptor) int {
		switch {
		case a.Platform == nil || b.Platform == nil:
			return 0
		case platform.Less(*a.Platform, *b.Platform):
			return -1
		case platform.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return out, nil
}

// whole reports what an image lacks. Layers that may not be handed on are in no archive.
func (s store) whole(ctx context.Context, d ocispec.Descriptor) error {
	_, err := s.content.Info(ctx, d.Digest)
	switch {
	case errdefs.IsNotFound(err) && containerd.IsNonDistributable(d.MediaType):
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: it lacks %s, of type %s", errIncomplete, d.Digest, d.MediaType)
	case err != nil:
		return err
	}
	children, err := s.parts(ctx, d)
	if err != nil || containerd.IsIndexType(d.MediaType) {
		return err // the images of an index were looked at
	}
	for _, c := range children {
		if err := s.whole(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
