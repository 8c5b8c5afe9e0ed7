package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const imageVolume = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  imagePullSecrets: [{name: team}]
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "cat /data/%s; touch /data/new 2>/dev/null && echo written; exit 0"]
    volumeMounts: [{name: data, mountPath: /data%s}]
  volumes: [{name: data, image: {reference: "%s", pullPolicy: %s}}]
`

// TestImagesVolume mounts images as volumes: they are pulled by their own policy with the pod's secrets, are read-only,
// and what goes wrong with them is told as it is of a container's image.
func TestImagesVolume(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	r := s.env.Registry(testbed.RegistryConfig{Auth: true})
	data := ociarchive.Image{Ref: "data", Files: []ociarchive.File{{Path: "/top", Content: []byte("top\n")}, {Path: "/deep/er/file", Content: []byte("deep\n")}}}
	ref := r.Push(data, "team/data", "1")
	volume := func(name, file, more, ref, policy string) string {
		return pods(fmt.Sprintf(imageVolume, name, file, more, ref, policy))
	}
	s.WriteManifest("secret.yaml", dockerSecret("team", r.Host, testbed.RegistryPassword, false))
	s.WriteManifest("pods.yaml", volume("whole", "top", "", ref, "IfNotPresent")+volume("part", "file", ", subPath: deep/er", ref, "Always")+
		volume("missing", "top", "", r.Host+"/team/none:1", "IfNotPresent")+volume("never", "top", "", r.Host+"/team/none:2", "Never")+
		volume("misnamed", "top", "", "Not/A:Valid:Name", "IfNotPresent")+volume("nosub", "top", ", subPath: nowhere", ref, "IfNotPresent")+
		volume("outside", "top", ", subPath: ../../etc", ref, "IfNotPresent"))
	for name, want := range map[string]string{"whole": "top\n", "part": "deep\n"} {
		s.phase(name, v1.PodSucceeded)
		s.prints(name, "c", want)
	}
	s.event("whole", "Pulled", fmt.Sprintf("image %q", ref))
	s.until("missing", "backs off", waits("c", "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: ", r.Host+"/team/none:1")))
	s.event("missing", "Failed", "Error: ErrImagePull")
	s.event("missing", "BackOff", fmt.Sprintf("Back-off pulling image %q", r.Host+"/team/none:1"))
	s.until("never", "says so", waits("c", "ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", r.Host+"/team/none:2")))
	s.until("misnamed", "says so", waits("c", "InvalidImageName", "Not/A:Valid:Name"))
	s.until("nosub", "says so", waits("c", "CreateContainerError", "nowhere"))
	if _, err := s.pod("outside"); err == nil {
		t.Error("a subPath that leads out of the image is accepted")
	}
	s.gone("pods.yaml")
}

// TestImagesPreloaded lays archives beside pods that wait for their images: whole ones start them at once, and broken
// ones harm nobody and are taken when they are whole.
func TestImagesPreloaded(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{NotYet: true})
	dir := filepath.Join(s.RootDir, "images")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	image := func(name string) ociarchive.Image {
		im := testbed.Images(t)[2]
		im.Ref = "minikubelet.dev/" + name + ":1"
		im.Files = append(im.Files, ociarchive.File{Path: "/name", Content: []byte(name)})
		return im
	}
	archive := func(name string) []byte {
		var b bytes.Buffer
		if err := ociarchive.Write(&b, image(name)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	late := archive("late")
	put("early.tar", archive("early"))
	put("zipped.tar.gz", gzipped(t, archive("zipped")))
	put("several.tar", fromAnotherNode(t, image("several")))
	put("half.tar", late[:len(late)/2])
	put("garbage.tar", []byte("this is no archive"))
	put("other.txt", late)
	s.WriteManifest("pods.yaml", pulling("early", "minikubelet.dev/early:1", "Never")+pulling("late", "minikubelet.dev/late:1", "Never")+
		pulling("later", "minikubelet.dev/later:1", "IfNotPresent")+pulling("zipped", "minikubelet.dev/zipped:1", "Never")+
		pulling("several", "minikubelet.dev/several:1", "Never"))
	s.Start()
	for _, name := range []string{"early", "zipped", "several"} {
		s.phase(name, v1.PodSucceeded)
	}
	s.until("late", "waits for its image", waits("c", "ErrImageNeverPull", "is not present with pull policy of Never"))
	s.until("later", "backs off", waits("c", "ImagePullBackOff", "minikubelet.dev/later:1"))
	for _, name := range []string{"half.tar", "garbage.tar"} {
		if want := "cannot import image archive " + filepath.Join(dir, name); !strings.Contains(s.Log(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	put("half.tar", late)
	put("later.tar", archive("later"))
	s.phase("late", v1.PodSucceeded)
	s.phase("later", v1.PodSucceeded)
	s.gone("pods.yaml")
}
