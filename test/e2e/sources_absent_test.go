package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// lingering ends by SIGKILL alone.
const lingering = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 5
  containers: [{name: c, image: $busybox, command: [sh, -c, "trap '' TERM; echo %s; while :; do sleep 1; done"]}]
`

func lingeringPod(name, says string) string { return pods(fmt.Sprintf(lingering, name, says)) }

const confined = `
metadata: {name: beside}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: $busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, configMap: {name: beside}}]
`

func besideMap(value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside}\ndata: {k: " + value + "}\n"
}

// TestStandaloneSources_MomentsOfAbsence takes files, the directory and what a URL says away and puts them back.
func TestStandaloneSources_MomentsOfAbsence(t *testing.T) {
	t.Parallel()
	web := newManifestServer(t)
	web.answer.Store(new(lingeringPod("by-url", "one")))
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Kubelet: map[string]any{
		"staticPodURL": web.srv.URL, "staticPodURLHeader": map[string]any{"X-Key": []string{"k"}}, "httpCheckFrequency": "1s",
	}})
	s.WriteManifest("web.yaml", lingeringPod("web", "one"))
	s.WriteManifest("beside.yaml", besideMap("one")+pods(confined))
	s.WriteManifest("own.yaml", ownUID("one"))
	for _, name := range []string{"web", "beside", "own", "by-url"} {
		s.ready(name)
	}
	path := filepath.Join(s.Manifests, "web.yaml")

	t.Run("a file that is saved by way of a backup changes nothing", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("web")
		rename(t, path, path+"~")
		s.WriteManifest("web.yaml", lingeringPod("web", "one"))
		s.RemoveManifest("web.yaml~")
		s.settled()
		s.same("web", before)
	})
	t.Run("a ConfigMap edited beside its pod leaves the pod", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("beside")
		s.RemoveManifest("beside.yaml")
		if err := os.WriteFile(filepath.Join(s.Manifests, "beside.yaml"), []byte(besideMap("two")+pods(confined)), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(s.RootDir, "pods", string(before.UID), "volumes", "kubernetes.io~configmap", "v", "k")
		testbed.Eventually(t, soon, "the volume has the new data", func() error {
			if b, err := os.ReadFile(file); err != nil || string(b) != "two" {
				return fmt.Errorf("it holds %q, %v", b, err)
			}
			return nil
		})
		s.settled()
		s.same("beside", before)
	})
	t.Run("the directory goes away for a moment", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("web")
		rename(t, s.Manifests, s.Manifests+".away")
		rename(t, s.Manifests+".away", s.Manifests)
		s.settled()
		s.same("web", before)
	})
	t.Run("a pod that ends when its file is back starts again", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("web")
		s.stopping("web", func() { rename(t, path, path+".away") })
		rename(t, path+".away", path)
		s.again("web", before)
	})
	t.Run("a pod that is edited and reverted starts again", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("web")
		s.stopping("web", func() { s.WriteManifest("web.yaml", lingeringPod("web", "two")) })
		s.WriteManifest("web.yaml", lingeringPod("web", "one"))
		s.again("web", before)
	})
	t.Run("a URL that says nothing once changes nothing", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("by-url")
		web.once.Store(true)
		testbed.Eventually(t, soon, "it was asked", func() error {
			if web.once.Load() {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		s.settled()
		s.same("by-url", before)
	})
	t.Run("a URL that says nothing for longer ends its pod, which starts again when it is named", func(t *testing.T) {
		s := s.on(t)
		before := s.ready("by-url")
		s.stopping("by-url", func() { web.answer.Store(new(noPods)) })
		web.answer.Store(new(lingeringPod("by-url", "one")))
		s.again("by-url", before)
	})
	t.Run("a pod with its own UID is replaced by its edit", func(t *testing.T) {
		s := s.on(t)
		for says, down := range map[string]bool{"two": false, "three": true} {
			before := s.ready("own")
			if down {
				s.Kill()
			}
			s.WriteManifest("own.yaml", ownUID(says))
			if down {
				s.Start()
			}
			s.again("own", before)
			s.prints("own", "c", says+"\n")
		}
		if p := s.ready("own"); p.UID != "my-own-uid" {
			t.Errorf("its UID is %s", p.UID)
		}
	})
}

const noPods = `{"apiVersion": "v1", "kind": "List", "items": []}`

func ownUID(says string) string {
	return strings.Replace(lingeringPod("own", says), "{name: own}", "{name: own, uid: my-own-uid}", 1)
}

// settled returns when what was missing before would have counted as removed: a pod beside it came and went meanwhile.
func (s *standalone) settled() {
	s.t.Helper()
	s.WriteManifest("marker.yaml", sleeping("marker", "3600"))
	s.ready("marker")
	s.gone("marker.yaml", s.others("marker")...)
}

// same holds a pod against what it was.
func (s *standalone) same(name string, was *v1.Pod) {
	s.t.Helper()
	if p := s.ready(name); p.UID != was.UID || container(p, "c").ContainerID != container(was, "c").ContainerID || container(p, "c").RestartCount != 0 {
		s.t.Errorf("%s is another one: %+v", name, container(p, "c"))
	}
}

// stopping does something and waits until a pod's container was told to end for it.
func (s *standalone) stopping(name string, do func()) {
	s.t.Helper()
	killed := func() (n int32) {
		for _, e := range s.events(name) {
			if e.Reason == "Killing" {
				n += e.Count
			}
		}
		return n
	}
	before := killed()
	do()
	testbed.Eventually(s.t, soon, name+" is told to end", func() error {
		if n := killed(); n == before {
			return fmt.Errorf("it was told so %d times, as before", n)
		}
		return nil
	})
}

// again waits until a pod runs in another container than before.
func (s *standalone) again(name string, was *v1.Pod) {
	s.t.Helper()
	s.until(name, "runs again", func(p *v1.Pod) error {
		if container(p, "c").ContainerID == container(was, "c").ContainerID {
			return fmt.Errorf("it is still the old container")
		}
		return isReady(p)
	})
}
