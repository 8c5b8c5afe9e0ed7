package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/google/go-cmp/cmp"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// imageNames are the names of images in a containerd.
type imageNames struct {
	imagesapi.ImagesClient
	digests map[string]string
}

func (n *imageNames) Create(_ context.Context, r *imagesapi.CreateImageRequest, _ ...grpc.CallOption) (*imagesapi.CreateImageResponse, error) {
	if n.digests[r.Image.Name] != "" {
		return nil, status.Error(codes.AlreadyExists, r.Image.Name)
	}
	n.digests[r.Image.Name] = r.Image.Target.Digest
	return &imagesapi.CreateImageResponse{Image: r.Image}, nil
}

func (n *imageNames) Update(_ context.Context, r *imagesapi.UpdateImageRequest, _ ...grpc.CallOption) (*imagesapi.UpdateImageResponse, error) {
	n.digests[r.Image.Name] = r.Image.Target.Digest
	return &imagesapi.UpdateImageResponse{Image: r.Image}, nil
}

func (n *imageNames) Get(_ context.Context, r *imagesapi.GetImageRequest, _ ...grpc.CallOption) (*imagesapi.GetImageResponse, error) {
	d := n.digests[r.Name]
	if d == "" {
		return nil, status.Error(codes.NotFound, r.Name)
	}
	return &imagesapi.GetImageResponse{Image: &imagesapi.Image{Name: r.Name, Target: &types.Descriptor{Digest: d}}}, nil
}

// unlabeled is a store of content that keeps no labels.
type unlabeled struct{ content.Store }

func (unlabeled) Update(_ context.Context, i content.Info, _ ...string) (content.Info, error) {
	return i, nil
}

// layout is an OCI image layout that is being made.
type layout struct {
	blobs map[string][]byte
	index ocispec.Index
}

func (l *layout) blob(mediaType string, v any) ocispec.Descriptor {
	b, ok := v.([]byte)
	if !ok {
		b, _ = json.Marshal(v)
	}
	d := godigest.FromBytes(b)
	if l.blobs == nil {
		l.blobs = map[string][]byte{}
	}
	l.blobs["blobs/sha256/"+d.Encoded()] = b
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// image adds the manifest of an image for a platform. The archive lacks those of other platforms, as those that were
// exported from a node do.
func (l *layout) image(content, arch string, lacks ...string) ocispec.Descriptor {
	own := &layout{}
	layer := own.blob(ocispec.MediaTypeImageLayer, []byte(content+arch))
	platform := ocispec.Platform{OS: "linux", Architecture: arch}
	config := own.blob(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: platform})
	manifest := own.blob(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer},
	})
	for what, d := range map[string]ocispec.Descriptor{"layer": layer, "config": config, "manifest": manifest} {
		if !slices.Contains(lacks, what) {
			l.blob("", own.blobs["blobs/sha256/"+d.Digest.Encoded()])
		}
	}
	manifest.Platform = &platform
	return manifest
}

func (l *layout) list(images ...ocispec.Descriptor) ocispec.Descriptor {
	return l.blob(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: images})
}

func (l *layout) add(name string, d ocispec.Descriptor) *layout {
	if name != "" {
		d.Annotations = map[string]string{"io.containerd.image.name": name}
	}
	l.index.Manifests = append(l.index.Manifests, d)
	return l
}

func (l *layout) archive(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	l.index.SchemaVersion = 2
	index, _ := json.Marshal(l.index)
	files := map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	maps.Copy(files, l.blobs)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestImport_TakesWhatIsThereForThisPlatform(t *testing.T) {
	here, elsewhere := runtime.GOARCH, "s390x"
	alike := map[string]string{"amd64": "386", "arm64": "arm"}[here] // this machine runs its programs, too
	const a, b = "example.com/a:1", "example.com/b:1"
	for name, tt := range map[string]struct {
		layout func(l *layout) *layout
		want   []string
		err    string
	}{
		"an image":                        {layout: func(l *layout) *layout { return l.add(a, l.image("a", here)) }, want: []string{a}},
		"an index of this platform alone": {layout: func(l *layout) *layout { return l.add(a, l.list(l.image("a", here))) }, want: []string{a}},
		"an index whose other platforms stayed behind": {layout: func(l *layout) *layout {
			return l.add(a, l.list(l.image("a", elsewhere, "manifest", "config", "layer"), l.image("a", alike, "manifest", "config", "layer"), l.image("a", here)))
		}, want: []string{a}},
		"an index of a platform that is alike": {layout: func(l *layout) *layout {
			return l.add(a, l.list(l.image("a", alike), l.image("a", here, "layer")))
		}, want: []string{a}},
		"an index without this platform": {layout: func(l *layout) *layout { return l.add(a, l.list(l.image("a", elsewhere))) }, err: "nothing in it is for linux/" + here},
		"an index that lacks a layer":    {layout: func(l *layout) *layout { return l.add(a, l.list(l.image("a", here, "layer"))) }, err: "is incomplete"},
		"an image that lacks a layer":    {layout: func(l *layout) *layout { return l.add(a, l.image("a", here, "layer")) }, err: "is incomplete"},
		"one name for two platforms": {layout: func(l *layout) *layout {
			return l.add(a, l.image("a", here)).add(a, l.image("a", elsewhere))
		}, want: []string{a}},
		"an image without a name beside others": {layout: func(l *layout) *layout {
			return l.add("", l.image("x", here)).add(a, l.image("a", here)).add("", l.image("y", here))
		}, want: []string{a}},
		"a broken one beside others": {layout: func(l *layout) *layout {
			return l.add(a, l.image("a", here, "layer")).add(b, l.image("b", here))
		}, want: []string{b}, err: "cannot import image " + a},
		"an image without a name": {layout: func(l *layout) *layout { return l.add("", l.image("x", here)) }, err: "has no full name"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := local.NewStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s := store{content: unlabeled{files}, images: &imageNames{digests: map[string]string{}}}
			file := tt.layout(&layout{}).archive(t)
			got, err := s.read(t.Context(), bytes.NewReader(file))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if tt.err != "" {
				return
			}
			if got, ok, err := s.present(t.Context(), bytes.NewReader(file)); !ok || err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("the second time: %v, %v, %v", got, ok, err)
			}
		})
	}
}

func TestImport_ReadsCompressedArchives(t *testing.T) {
	l := &layout{}
	plain := l.add("example.com/a:1", l.image("a", runtime.GOARCH)).archive(t)
	for name, kind := range map[string]compression.Compression{"gzip": compression.Gzip, "zstd": compression.Zstd} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			w, err := compression.CompressStream(&file, kind)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(plain); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := local.NewStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s := store{content: unlabeled{files}, images: &imageNames{digests: map[string]string{}}}
			if got, err := s.read(t.Context(), bytes.NewReader(file.Bytes())); err != nil || len(got) != 1 {
				t.Errorf("names %v, %v", got, err)
			}
			if _, ok, err := s.present(t.Context(), bytes.NewReader(file.Bytes())); !ok || err != nil {
				t.Errorf("the second time: %v, %v", ok, err)
			}
			if _, err := s.read(t.Context(), bytes.NewReader(file.Bytes()[:file.Len()/2])); err == nil {
				t.Error("half a file is no error")
			}
		})
	}
}
