package pause

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The programs are committed: a plain go build needs no assembler. Debian: binutils, binutils-aarch64-linux-gnu.
//
//go:generate as -o amd64.o amd64.asm
//go:generate ld -n -s --build-id=none -o amd64.elf amd64.o
//go:generate aarch64-linux-gnu-as -o arm64.o arm64.asm
//go:generate aarch64-linux-gnu-ld -n -s --build-id=none -o arm64.elf arm64.o
//go:generate rm amd64.o arm64.o

//go:embed amd64.elf
var amd64 []byte

//go:embed arm64.elf
var arm64 []byte

// Archive packs the pause image for an architecture (amd64 or arm64, as GOARCH has them) under a full name as an OCI
// archive. The same input gives the same bytes.
func Archive(name, arch string) ([]byte, error) {
	program := map[string][]byte{"amd64": amd64, "arm64": arm64}[arch]
	if program == nil {
		return nil, fmt.Errorf("cannot make a pause image for %s: there is a program for amd64 and arm64 alone; import an image as %s", arch, name)
	}
	layer, err := pack(entry{"pause", program, 0o755})
	if err != nil {
		return nil, err
	}
	epoch := time.Unix(0, 0).UTC()
	layerD := descriptor(v1.MediaTypeImageLayer, layer)
	config, err := json.Marshal(v1.Image{
		Created:  &epoch,
		Platform: v1.Platform{Architecture: arch, OS: "linux"},
		Config:   v1.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535", Env: []string{"PATH=/"}},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerD.Digest}},
	})
	if err != nil {
		return nil, err
	}
	configD := descriptor(v1.MediaTypeImageConfig, config)
	manifest, err := json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: configD, Layers: []v1.Descriptor{layerD},
	})
	if err != nil {
		return nil, err
	}
	manifestD := descriptor(v1.MediaTypeImageManifest, manifest)
	named := manifestD
	named.Annotations = map[string]string{"io.containerd.image.name": name, v1.AnnotationRefName: name}
	index, err := json.Marshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{named},
	})
	if err != nil {
		return nil, err
	}
	return pack(
		entry{v1.ImageLayoutFile, []byte(`{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`), 0o644},
		entry{v1.ImageIndexFile, index, 0o644},
		blob(layerD, layer), blob(configD, config), blob(manifestD, manifest),
	)
}

type entry struct {
	name    string
	content []byte
	mode    int64
}

func descriptor(mediaType string, b []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func blob(d v1.Descriptor, b []byte) entry {
	return entry{v1.ImageBlobsDir + "/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded(), b, 0o644}
}

func pack(entries ...entry) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
