package testbed

import (
	"context"
	"os"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
)

// The images that every containerd of the harness has. No registry can be reached: they are built from test/images and
// from Debian's busybox-static, under the names that manifests use.
const (
	PauseImage   = "registry.k8s.io/pause:3.10.1"
	BusyboxImage = "docker.io/library/busybox:1.36" // sh, sleep, wget, nc, ...; no entrypoint
	WebImage     = "minikubelet.dev/web:1"          // test/images/web; entrypoint /web, port 8080
)

const pathEnv = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Images returns the harness's images, to be imported, pushed to a registry, or packed under another name.
func Images(t T) []ociarchive.Image {
	t.Helper()
	return []ociarchive.Image{
		{
			Ref:    PauseImage,
			Files:  []ociarchive.File{fromDisk(t, buildProgram(t, "./test/images/pause"), "/pause")},
			Config: v1.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535", Env: []string{pathEnv}},
		},
		busyboxImage(t),
		{
			Ref: WebImage,
			Files: []ociarchive.File{
				fromDisk(t, buildProgram(t, "./test/images/web"), "/web"),
				{Path: "/tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
			},
			Config: v1.ImageConfig{Entrypoint: []string{"/web"}, Env: []string{pathEnv}},
		},
	}
}

// BusyboxNamed is busybox under another name.
func BusyboxNamed(t T, ref string) ociarchive.Image {
	t.Helper()
	im := busyboxImage(t)
	im.Ref = ref
	return im
}

func busyboxImage(t T) ociarchive.Image {
	t.Helper()
	program := debian(t, "/bin/busybox")
	names := must[string](t, "list busybox's commands")(runOut(program, "--list"))
	files := []ociarchive.File{
		fromDisk(t, program, "/bin/busybox"),
		{Path: "/tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
		{Path: "/root", Mode: os.ModeDir | 0o700},
		{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{Path: "/etc/group", Content: []byte("root:x:0:\nnogroup:x:65534:\n")},
	}
	for name := range strings.FieldsSeq(names) {
		if name != "busybox" {
			files = append(files, ociarchive.File{Path: "/bin/" + name, Link: "busybox"})
		}
	}
	return ociarchive.Image{Ref: BusyboxImage, Files: files, Config: v1.ImageConfig{Cmd: []string{"sh"}, Env: []string{pathEnv}}}
}

// KubeadmImages packs what `kubeadm config images list` names, under these names: the built components, and the pause image.
func KubeadmImages(t T, refs []string) []ociarchive.Image {
	t.Helper()
	var out []ociarchive.Image
	for _, ref := range refs {
		name, _, _ := strings.Cut(ref[strings.LastIndexByte(ref, '/')+1:], ":")
		im := ociarchive.Image{Ref: ref, Config: v1.ImageConfig{Env: []string{pathEnv}}}
		if name == "pause" {
			im.Files, im.Config = Images(t)[0].Files, Images(t)[0].Config
		} else {
			im.Files = []ociarchive.File{fromDisk(t, Tool(t, name), "/usr/local/bin/"+name)}
		}
		out = append(out, im)
	}
	return out
}

func fromDisk(t T, src, dst string) ociarchive.File {
	t.Helper()
	f, err := ociarchive.FromDisk(src, dst)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return f
}

// ImageArchive writes Images and more images to an OCI archive of this Env and returns its path. It is what the agent's
// preload directory takes, too.
func (e *Env) ImageArchive(more ...ociarchive.Image) string {
	e.t.Helper()
	path := e.Path("images.tar")
	if err := ociarchive.WriteFile(path, slices.Concat(Images(e.t), more)...); err != nil {
		e.t.Fatalf("%v", err)
	}
	return path
}

func runOut(name string, args ...string) (string, error) {
	return Run(context.Background(), "", name, args...)
}
