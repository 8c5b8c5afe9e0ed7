package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const volumeOfImage = `
metadata: {name: volume}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers: [{name: c, image: $busybox, command: [cat, /data/name], volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, image: {reference: "%s", pullPolicy: IfNotPresent}}]
`

// TestImages_ImportedByHandAreNoticed imports, behind the agent's back, the image that pods have waited for so long that their
// next pull is far away: they start all the same, and were told of nothing but their pulls.
func TestImages_ImportedByHandAreNoticed(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	const ref = "127.0.0.1:1/by/hand:1"
	s.WriteManifest("pods.yaml", pulling("absent", ref, "IfNotPresent")+pulling("never", ref, "Never")+pods(fmt.Sprintf(volumeOfImage, ref)))
	failed := func(name, reason, message string) {
		t.Helper()
		testbed.Eventually(t, 2*soon, name+" has failed three times", func() error {
			if n := s.event(name, reason, message).Count; n < 3 {
				return fmt.Errorf("it has failed %d times", n)
			}
			return nil
		})
	}
	for _, name := range []string{"absent", "volume"} { // at 0, 10 and 30 s: the next time at 70 s
		failed(name, "Failed", fmt.Sprintf("Failed to pull image %q", ref))
	}
	failed("never", "ErrImageNeverPull", "is not present with pull policy of Never")
	im := testbed.Images(t)[2]
	im.Ref = ref
	im.Files = append(im.Files, ociarchive.File{Path: "/name", Content: []byte("by hand")})
	var file bytes.Buffer
	if err := ociarchive.Write(&file, im); err != nil {
		t.Fatal(err)
	}
	if _, err := images.NewImporter(s.cd.Socket).Import(t.Context(), bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"absent", "never", "volume"} {
		testbed.Eventually(t, 20*time.Second, name+" has run", func() error {
			if p, err := s.pod(name); err != nil || p.Status.Phase != v1.PodSucceeded {
				return fmt.Errorf("it is %v, %v", p.Status.Phase, err)
			}
			return nil
		})
	}
	s.prints("volume", "c", "by hand")
	for name, reason := range map[string]string{"absent": "Failed", "never": "ErrImageNeverPull"} {
		if e := s.event(name, reason, ref); e.Count != 3 {
			t.Errorf("%s was told %d times of %s, want 3: %s", name, e.Count, reason, e.Message)
		}
	}
	s.gone("pods.yaml")
}

// fromAnotherNode is an archive of an image for several platforms, as it is exported from a node that had one of them.
func fromAnotherNode(t *testing.T, im ociarchive.Image) []byte {
	t.Helper()
	p, err := ociarchive.Pack(im)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, b []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	encoded := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	list := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, arch := range []string{"s390x", "386", "arm", runtime.GOARCH} { // programs of some of these run here, too
		d := p.Manifest.Descriptor
		if arch != runtime.GOARCH {
			d.Digest = digest.FromString(arch)
		}
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		list.Manifests = append(list.Manifests, d)
	}
	b := encoded(list)
	top := ocispec.Descriptor{MediaType: list.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b)), Annotations: map[string]string{"io.containerd.image.name": im.Ref}}
	nameless := p.Manifest.Descriptor
	for _, blob := range []ociarchive.Blob{p.Layer, p.Config, p.Manifest, {Descriptor: top, Content: b}} {
		add("blobs/sha256/"+blob.Digest.Encoded(), blob.Content)
	}
	add("index.json", encoded(ocispec.Index{Versioned: list.Versioned, Manifests: []ocispec.Descriptor{nameless, top}}))
	add("oci-layout", encoded(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
