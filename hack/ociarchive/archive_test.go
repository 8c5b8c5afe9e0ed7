package ociarchive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func entries(t *testing.T, b []byte) map[string]string {
	t.Helper()
	got := map[string]string{}
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			got[h.Name] = "-> " + h.Linkname
		case tar.TypeDir:
			got[h.Name] = fs.FileMode(h.Mode & 0o7777).String()
		default:
			got[h.Name] = string(c)
		}
	}
}

func TestPack_LayerHoldsFilesLinksAndTheirParents(t *testing.T) {
	p, err := Pack(Image{Ref: "example.org/a:1", Files: []File{
		{Path: "/bin/sh", Link: "busybox"},
		{Path: "/bin/busybox", Mode: 0o755, Content: []byte("program")},
		{Path: "/etc/app/config", Content: []byte("x: 1")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"bin/": "-rwxr-xr-x", "bin/busybox": "program", "bin/sh": "-> busybox",
		"etc/": "-rwxr-xr-x", "etc/app/": "-rwxr-xr-x", "etc/app/config": "x: 1",
	}
	if d := cmp.Diff(want, entries(t, p.Layer.Content)); d != "" {
		t.Errorf("layer (-want +got):\n%s", d)
	}
}

func TestPack_KeepsTheBitsThatChangeWhoRuns(t *testing.T) {
	p, err := Pack(Image{Files: []File{{Path: "/su", Mode: fs.ModeSetuid | 0o755}, {Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777}}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for tr := tar.NewReader(bytes.NewReader(p.Layer.Content)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Mode
	}
	if d := cmp.Diff(map[string]int64{"su": 0o4755, "tmp/": 0o1777}, got); d != "" {
		t.Error(d)
	}
}

func TestPack_RefusesPathsThatLeaveTheImage(t *testing.T) {
	for _, p := range []string{"relative", "/a/../../b", "/", "", "/a/"} {
		if _, err := Pack(Image{Files: []File{{Path: p}}}); err == nil {
			t.Errorf("Pack accepted %q", p)
		}
	}
	_, err := Pack(Image{Files: []File{{Path: "/a"}, {Path: "/a"}}})
	if err == nil || !strings.Contains(err.Error(), "/a is there twice") {
		t.Errorf("Pack of a path given twice: %v", err)
	}
}

func TestWrite_LayoutRefersToWhatItHolds(t *testing.T) {
	im := Image{Ref: "registry.k8s.io/pause:3.10.1", Files: []File{{Path: "/pause", Mode: 0o755}}, Config: v1.ImageConfig{Entrypoint: []string{"/pause"}}}
	var a, b bytes.Buffer
	if err := errors.Join(Write(&a, im), Write(&b, im)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same image gave two archives")
	}
	got := entries(t, a.Bytes())
	var index v1.Index
	if err := json.Unmarshal([]byte(got["index.json"]), &index); err != nil {
		t.Fatal(err)
	}
	if n := index.Manifests[0].Annotations[imageNameAnnotation]; n != im.Ref {
		t.Errorf("name %q, want %q", n, im.Ref)
	}
	blob := func(d v1.Descriptor) []byte {
		c := got["blobs/sha256/"+d.Digest.Encoded()]
		if digest.FromString(c) != d.Digest || int64(len(c)) != d.Size {
			t.Errorf("blob %s does not match its descriptor", d.Digest)
		}
		return []byte(c)
	}
	var m v1.Manifest
	if err := json.Unmarshal(blob(index.Manifests[0]), &m); err != nil {
		t.Fatal(err)
	}
	var c v1.Image
	if err := json.Unmarshal(blob(m.Config), &c); err != nil {
		t.Fatal(err)
	}
	blob(m.Layers[0])
	if d := cmp.Diff([]string{"/pause"}, c.Config.Entrypoint); d != "" {
		t.Error(d)
	}
}

func TestWriteFile_LeavesNothingWhenAnImageIsBad(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "a.tar"), Image{Files: []File{{Path: "no"}}}); err == nil {
		t.Error("WriteFile accepted a bad image")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
