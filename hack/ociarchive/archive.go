package ociarchive

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageNameAnnotation is where containerd looks for the full name; the OCI annotation beside it holds it for other tools.
const imageNameAnnotation = "io.containerd.image.name"

// Write writes images as one OCI image layout archive (OCI image-spec, image-layout.md).
func Write(w io.Writer, images ...Image) error {
	tw := tar.NewWriter(w)
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	written := map[string]bool{}
	for _, im := range images {
		p, err := Pack(im)
		if err != nil {
			return err
		}
		for _, b := range []Blob{p.Layer, p.Config, p.Manifest} {
			name := v1.ImageBlobsDir + "/" + b.Digest.Algorithm().String() + "/" + b.Digest.Encoded()
			if written[name] {
				continue
			}
			written[name] = true
			if err := writeEntry(tw, name, File{Content: b.Content}); err != nil {
				return fmt.Errorf("cannot write image %s: %w", im.Ref, err)
			}
		}
		d := p.Manifest.Descriptor
		d.Annotations = map[string]string{imageNameAnnotation: im.Ref, v1.AnnotationRefName: im.Ref}
		index.Manifests = append(index.Manifests, d)
	}
	if err := writeJSON(tw, v1.ImageIndexFile, index); err != nil {
		return fmt.Errorf("cannot write the index: %w", err)
	}
	if err := writeJSON(tw, v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion}); err != nil {
		return fmt.Errorf("cannot write the layout: %w", err)
	}
	return tw.Close()
}

func writeJSON(tw *tar.Writer, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeEntry(tw, name, File{Content: b})
}

// WriteFile writes images to an archive that appears at its path only when it is whole, so that a directory that is
// watched for archives never shows half of one.
func WriteFile(path string, images ...Image) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".ociarchive-*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := Write(f, images...); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// FromDisk reads a file of this machine as an entry at dst, with its permission bits.
func FromDisk(src, dst string) (File, error) {
	info, err := os.Stat(src)
	if err != nil {
		return File{}, fmt.Errorf("cannot pack: %w", err)
	}
	b, err := os.ReadFile(src)
	if err != nil {
		return File{}, fmt.Errorf("cannot pack: %w", err)
	}
	return File{Path: dst, Mode: info.Mode().Perm(), Content: b}, nil
}
