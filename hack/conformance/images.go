package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const imageRepo = "registry.k8s.io/e2e-test-images/"

// made are the images that the suite names and that can be made here, under exactly those names.
func made(t *testbed.Program) []ociarchive.Image {
	list, err := testbed.Run(context.Background(), "", testbed.Tool(t, "e2e.test"), "--list-images")
	if err != nil {
		t.Fatalf("cannot ask the suite for its images: %v", err)
	}
	contents := images(t)
	var all []ociarchive.Image
	for ref := range strings.FieldsSeq(list) {
		name, _, _ := strings.Cut(ref, ":")
		if im, ok := contents[name]; ok {
			im.Ref = ref
			all = append(all, im)
		}
	}
	return all
}

// provide gives a containerd the images. Those that specs pull in any case are in the registry too that it takes for
// upstream's.
func provide(t *testbed.Program, e *testbed.Env, images []ociarchive.Image, registry *testbed.Registry, cd *testbed.Containerd) {
	file := e.Path("conformance.tar") // what they share they share as one layer
	if err := ociarchive.WriteFile(file, images...); err != nil {
		t.Fatalf("cannot make the suite's images: %v", err)
	}
	cd.ImportArchive(file)
	for _, im := range images {
		name, tag, _ := strings.Cut(strings.TrimPrefix(im.Ref, "registry.k8s.io/"), ":")
		if path.Base(name) == "kitten" || path.Base(name) == "agnhost" {
			registry.Push(im, name, tag)
		}
	}
}

// images are the contents, by name without the tag.
func images(t *testbed.Program) map[string]ociarchive.Image {
	given := map[string]ociarchive.Image{}
	for _, im := range testbed.Images(t) {
		given[im.Ref] = im
	}
	pause, box := given[testbed.PauseImage], withBash(t, given[testbed.BusyboxImage])
	debian := ociarchive.Image{Files: slices.Concat(debianFiles(t, box), registryFiles(t, pause)), Config: v1.ImageConfig{Env: box.Config.Env, Cmd: []string{"bash"}}}
	agnhost, nginx, nonroot, nonewprivs := debian, debian, debian, box
	agnhost.Config.Entrypoint, agnhost.Config.Cmd = []string{"/agnhost"}, []string{"pause"}
	nginx.Config.Entrypoint, nginx.Config.Cmd = []string{"/agnhost"}, []string{"test-webserver"} // specs ask no more of it than to run
	nonroot.Config.User = "1234"
	nnp := fromDisk(t, testbed.Tool(t, "nonewprivs"), "/usr/local/bin/nnp")
	nnp.Mode |= fs.ModeSetuid
	nonewprivs.Files, nonewprivs.Config.Cmd = append(slices.Clone(box.Files), nnp), []string{"nnp"}
	kitten := ociarchive.Image{Files: []ociarchive.File{ // a volume, of which a spec reads these
		{Path: "/data.json", Content: []byte(`{"image": "kitten.jpg"}`)}, {Path: "/etc/os-release", Content: []byte("NAME=\"Alpine Linux\"\n")},
	}}
	return map[string]ociarchive.Image{
		"registry.k8s.io/pause":         pause,
		imageRepo + "agnhost":           agnhost,
		imageRepo + "busybox":           box,
		imageRepo + "glibc-dns-testing": debian,
		imageRepo + "ipc-utils":         debian,
		imageRepo + "kitten":            kitten,
		imageRepo + "nginx":             nginx,
		imageRepo + "nonewprivs":        nonewprivs,
		imageRepo + "nonroot":           nonroot,
	}
}

// withBash is busybox with bash as the sh of its path: specs that call it set environment variables with names that
// Debian's busybox, unlike upstream's, does not hand on. Those that call /bin/sh read its messages, which are busybox's.
func withBash(t *testbed.Program, box ociarchive.Image) ociarchive.Image {
	box.Files = append(slices.Clone(box.Files), fromDisk(t, filepath.Join(testbed.ToolsDir(), "debian", "bin", "bash-static"), "/usr/local/bin/sh"))
	return box
}

// debianFiles are Debian with what upstream's Dockerfile of agnhost adds to its base. That base is Alpine: what it has from
// busybox and Debian has not comes from busybox here too.
func debianFiles(t *testbed.Program, box ociarchive.Image) []ociarchive.File {
	root := filepath.Join(testbed.ToolsDir(), "debian")
	files, err := tree(root)
	if err != nil {
		t.Fatalf("cannot read the base of the suite's images: %v; run sudo hack/build-tools debian", err)
	}
	has := map[string]bool{}
	for i, f := range files {
		if strings.HasSuffix(path.Dir(f.Path), "bin") {
			has[path.Base(f.Path)] = true
		}
		switch f.Path {
		case "/etc/passwd":
			files[i].Content = append(f.Content, "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n"...)
		case "/etc/group":
			files[i].Content = append(f.Content, "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"...)
		}
	}
	for _, f := range box.Files {
		if name := path.Base(f.Path); path.Dir(f.Path) == "/bin" && !has[name] {
			f.Path = "/usr/bin/" + name
			files = append(files, f)
		}
	}
	for _, name := range []string{"localhost.crt", "localhost.key"} {
		files = append(files, fromDisk(t, filepath.Join(testbed.ToolsDir(), "agnhost", name), "/"+name))
	}
	return append(files, fromDisk(t, testbed.Tool(t, "agnhost"), "/agnhost"), fromDisk(t, testbed.Tool(t, "coredns"), "/coredns"),
		ociarchive.File{Path: "/agnhost-2", Link: "agnhost"}, ociarchive.File{Path: "/uploads", Mode: fs.ModeDir | 0o755})
}

// registryFiles are what agnhost's fake-registry-server serves: the pause image under pause:testing.
func registryFiles(t *testbed.Program, pause ociarchive.Image) []ociarchive.File {
	p, err := ociarchive.Pack(pause)
	if err != nil {
		t.Fatalf("%v", err)
	}
	const dir = "/var/registry/pause/"
	blob := func(kind string, b ociarchive.Blob) ociarchive.File {
		hex := b.Digest.Encoded()
		return ociarchive.File{Path: dir + kind + "/sha256/" + hex[:2] + "/" + hex + "/data", Content: b.Content}
	}
	return []ociarchive.File{
		{Path: dir + "manifests/testing", Content: []byte(p.Manifest.Digest)},
		blob("manifests", p.Manifest), blob("blobs", p.Config), blob("blobs", p.Layer),
	}
}

func fromDisk(t *testbed.Program, src, dst string) ociarchive.File {
	f, err := ociarchive.FromDisk(src, dst)
	if err != nil {
		t.Fatalf("%v; run sudo hack/build-tools debian agnhost", err)
	}
	return f
}

// tree reads a directory as the root of an image. Devices and what is mounted there on a machine that runs stay out.
func tree(root string) ([]ociarchive.File, error) {
	var files []ociarchive.File
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f := ociarchive.File{Path: strings.TrimPrefix(p, root)}
		if f.Path == "" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f.Mode = info.Mode()
		switch {
		case d.IsDir():
			if slices.Contains([]string{"/dev", "/proc", "/sys", "/run"}, f.Path) {
				err = fs.SkipDir
			}
		case d.Type() == fs.ModeSymlink:
			f.Link, err = os.Readlink(p)
		case d.Type().IsRegular():
			f.Content, err = os.ReadFile(p)
		default:
			return nil
		}
		if err == nil || errors.Is(err, fs.SkipDir) {
			files = append(files, f)
		}
		return err
	})
	return files, err
}
