package ociarchive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is one entry of an image's only layer. Directories above it are made with mode 0755.
type File struct {
	Path    string      // absolute, inside the image
	Mode    fs.FileMode // permission bits, ModeDir, ModeSticky, ModeSetuid; 0 is 0644
	Content []byte
	Link    string // symlink target; Content is ignored when it is set
}

// Image is what is packed.
type Image struct {
	Ref    string // full reference as the runtime knows it: registry.k8s.io/pause:3.10.1
	Files  []File
	Config v1.ImageConfig // entrypoint, command, environment, user, stop signal
}

// Blob is content with the descriptor that refers to it.
type Blob struct {
	v1.Descriptor
	Content []byte
}

// Packed is an image as a registry stores it.
type Packed struct {
	Ref      string
	Manifest Blob
	Config   Blob
	Layer    Blob
}

// Pack makes the parts of an image, for the architecture of this program. An error names the file that cannot be packed.
func Pack(im Image) (Packed, error) {
	layer, err := packLayer(im.Files)
	if err != nil {
		return Packed{}, fmt.Errorf("cannot pack image %s: %w", im.Ref, err)
	}
	created := time.Unix(0, 0).UTC()
	p := Packed{Ref: im.Ref, Layer: blobOf(v1.MediaTypeImageLayer, layer)}
	p.Config, err = jsonBlob(v1.MediaTypeImageConfig, v1.Image{
		Created:  &created,
		Platform: v1.Platform{Architecture: runtime.GOARCH, OS: "linux"},
		Config:   im.Config,
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{p.Layer.Digest}},
	})
	if err != nil {
		return Packed{}, fmt.Errorf("cannot pack image %s: %w", im.Ref, err)
	}
	p.Manifest, err = jsonBlob(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    p.Config.Descriptor,
		Layers:    []v1.Descriptor{p.Layer.Descriptor},
	})
	if err != nil {
		return Packed{}, fmt.Errorf("cannot pack image %s: %w", im.Ref, err)
	}
	return p, nil
}

func jsonBlob(mediaType string, v any) (Blob, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Blob{}, err
	}
	return blobOf(mediaType, b), nil
}

func blobOf(mediaType string, b []byte) Blob {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return Blob{Descriptor: d, Content: b}
}

func packLayer(files []File) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	made := map[string]bool{".": true}
	for _, f := range files {
		name, err := entryName(f.Path)
		if err != nil {
			return nil, err
		}
		if made[name] {
			return nil, fmt.Errorf("%s is there twice", f.Path)
		}
		if err := writeParents(tw, made, path.Dir(name)); err != nil {
			return nil, err
		}
		made[name] = true
		if err := writeEntry(tw, name, f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// entryName is the path inside the tar: relative and clean.
func entryName(p string) (string, error) {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return "", fmt.Errorf("%q is not a clean absolute path", p)
	}
	return strings.TrimPrefix(p, "/"), nil
}

func writeParents(tw *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := writeParents(tw, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return writeEntry(tw, dir, File{Mode: fs.ModeDir | 0o755})
}

func writeEntry(tw *tar.Writer, name string, f File) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Content)), Format: tar.FormatPAX}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if f.Mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	if f.Mode&fs.ModeSetuid != 0 {
		h.Mode |= 0o4000
	}
	content := f.Content
	switch {
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Size, h.Mode, content = tar.TypeSymlink, f.Link, 0, 0o777, nil
	case f.Mode.IsDir():
		h.Typeflag, h.Name, h.Size, content = tar.TypeDir, name+"/", 0, nil
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := tw.Write(content)
	return err
}
