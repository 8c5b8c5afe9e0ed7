package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestStandaloneSources_HardCases gives one agent a URL beside its directory, and both all that goes wrong with files.
func TestStandaloneSources_HardCases(t *testing.T) {
	t.Parallel()
	web := newManifestServer(t)
	web.answer.Store(new(sleeping("by-url", "3601")))
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{Kubelet: map[string]any{
		"staticPodURL": web.srv.URL, "staticPodURLHeader": map[string]any{"X-Key": []string{"k"}}, "httpCheckFrequency": "1s",
	}})
	s.WriteManifest("stays.yaml", sleeping("stays", "3602"))
	s.WriteManifest("keys.yaml", keyObjects+pods(needsKeys))
	s.WriteManifest("fixed.yaml", fixedMap("one")+pods(readsFixed))
	stays := s.ready("stays")

	t.Run("a pod waits for a missing key and says what to add", func(t *testing.T) { waitsForKeys(s.on(t)) })
	t.Run("a file that is being written is not taken half", func(t *testing.T) { writesSlowly(s.on(t)) })
	t.Run("what editors leave is no manifest, and their way of saving is one change", func(t *testing.T) { savesLikeEditors(s.on(t)) })
	t.Run("the second file with a pod's name is told, and stops nothing", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("a-second.yaml", sleeping("stays", "3603"))
		s.invalid("a-second.yaml", "line 4: metadata.name: Pod default/stays-"+s.NodeName+" is also in stays.yaml, which is used")
		s.RemoveManifest("a-second.yaml")
	})
	t.Run("what an API server would refuse is told with its line", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("refused.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: refused}\nspec:\n  tolerations:\n  - {key: a, operator: Maybe}\n"+
			"  containers:\n  - name: c\n    image: i\n    ports: [{containerPort: 70000}]\n")
		s.invalid("refused.yaml", `line 6: spec.tolerations[0].operator: Unsupported value: "Maybe"`)
		s.invalid("refused.yaml", `line 10: spec.containers[0].ports[0].containerPort: Invalid value: 70000`)
		s.RemoveManifest("refused.yaml")
	})
	t.Run("what looks odd and an API server takes runs", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("odd.yaml", pods(fmt.Sprintf(odd, s.env.Port(), s.env.Port())))
		p := s.ready("odd")
		if g := *p.Spec.TerminationGracePeriodSeconds; g != 1 {
			t.Errorf("its grace period is %d s", g)
		}
		s.prints("odd", "c", "1\n2\n1\n")
		s.gone("odd.yaml", s.others("odd")...)
	})
	t.Run("an immutable ConfigMap keeps its data until it was deleted", func(t *testing.T) { keepsWhatIsImmutable(s.on(t)) })
	t.Run("links are followed when they are exchanged together", func(t *testing.T) { exchangesLinks(s.on(t)) })
	t.Run("a URL's pods run, go on while it fails, and go with an empty list", func(t *testing.T) { followsURL(s.on(t), web) })
	t.Run("a file that breaks while the agent is down leaves its pod alone", func(t *testing.T) { breaksWhileDown(s.on(t), stays) })
	t.Run("nothing of this touched the first pod", func(t *testing.T) {
		p := s.on(t).ready("stays")
		if p.UID != stays.UID || container(p, "c").ContainerID != container(stays, "c").ContainerID {
			t.Errorf("it is another one: %+v", container(p, "c"))
		}
	})
	t.Run("the directory vanishes with its pods, and comes back with them", func(t *testing.T) {
		s := s.on(t)
		rename(t, s.Manifests, s.Manifests+".away")
		testbed.Eventually(t, 2*soon, "nothing is left", s.NothingLeft)
		rename(t, s.Manifests+".away", s.Manifests)
		s.ready("stays")
	})
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// invalid waits for the event and the line of the log that tell a problem of a file.
func (s *standalone) invalid(file, problem string) {
	s.t.Helper()
	testbed.Eventually(s.t, soon, "an event tells that "+file+" has a problem", func() error {
		var list v1.EventList
		if err := s.local("/api/v1/events", &list); err != nil {
			return err
		}
		var others []string
		for _, e := range list.Items {
			if e.Reason != "InvalidManifest" {
				continue
			}
			if strings.Contains(e.Message, file+": ") && strings.Contains(e.Message, problem) {
				return nil
			}
			others = append(others, e.Message)
		}
		return fmt.Errorf("there are %q", others)
	})
	if !strings.Contains(s.Log(), file) {
		s.t.Errorf("the log says nothing of %s", file)
	}
}

const keyObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: half}
data: {there: yes-it-is}
---
apiVersion: v1
kind: Secret
metadata: {name: half}
stringData: {there: secret}
`

const needsKeys = `
metadata: {name: keys}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: env
    image: $busybox
    command: [sh, -c, "echo $A; exec sleep 3600"]
    env: [{name: A, valueFrom: {configMapKeyRef: {name: half, key: absent}}}]
  - name: secret
    image: $busybox
    command: [sh, -c, "echo $A; exec sleep 3600"]
    env: [{name: A, valueFrom: {secretKeyRef: {name: half, key: absent}}}]
  - name: optional
    image: $busybox
    command: [sh, -c, "echo ${A-unset} $there; exec sleep 3600"]
    env: [{name: A, valueFrom: {secretKeyRef: {name: half, key: absent, optional: true}}}]
    envFrom: [{configMapRef: {name: half}}, {configMapRef: {name: nowhere, optional: true}}]
---
apiVersion: v1
kind: Pod
metadata: {name: key-file}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "cat /v/file; echo; exec sleep 3600"]
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, configMap: {name: half, items: [{key: absent, path: file}]}}]
`

func waitsForKeys(s *standalone) {
	s.until("keys", "says which key is missing", waits("env", "CreateContainerConfigError", "couldn't find key absent in ConfigMap default/half: add the key"))
	s.until("keys", "says which key is missing", waits("secret", "CreateContainerConfigError", "couldn't find key absent in Secret default/half: add the key"))
	s.event("keys", "Failed", "couldn't find key absent in ConfigMap default/half")
	s.event("key-file", "FailedMount", "references non-existent key: absent (add it to the ConfigMap default/half)")
	if out, err := s.CLI("describe", "pod", "keys"); err != nil || !strings.Contains(out, "couldn't find key absent in Secret default/half") {
		s.t.Errorf("describe says %s, %v", out, err)
	}
	s.until("keys", "runs what does not need the key", func(p *v1.Pod) error {
		if container(p, "optional").State.Running == nil {
			return fmt.Errorf("container optional does not run")
		}
		return nil
	})
	s.prints("keys", "optional", "unset yes-it-is\n")
	s.WriteManifest("keys.yaml", strings.NewReplacer("yes-it-is}", "yes-it-is, absent: here}", "secret}", "secret, absent: there}").Replace(keyObjects)+pods(needsKeys))
	s.ready("keys")
	s.ready("key-file")
	s.prints("keys", "env", "here\n")
	s.prints("keys", "secret", "there\n")
	s.prints("key-file", "c", "here\n")
	s.gone("keys.yaml", s.others("keys", "key-file")...)
}

// others are the UIDs of all pods but those named.
func (s *standalone) others(names ...string) []string {
	s.t.Helper()
	var list v1.PodList
	if err := s.local("/api/v1/pods", &list); err != nil {
		s.t.Fatal(err)
	}
	var out []string
next:
	for _, p := range list.Items {
		for _, n := range names {
			if p.Name == n+"-"+s.NodeName {
				continue next
			}
		}
		out = append(out, string(p.UID))
	}
	return out
}

// writesSlowly writes a pod in pieces that are all valid by themselves, while other files change.
func writesSlowly(s *standalone) {
	f, err := os.Create(filepath.Join(s.Manifests, "slow.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for i, piece := range strings.SplitAfter(sleeping("slow", "3604"), "\n") {
		if _, err := f.WriteString(piece); err != nil {
			s.t.Fatal(err)
		}
		if i%4 != 0 {
			continue
		}
		name := fmt.Sprint("beside-", i)
		s.WriteManifest("beside.yaml", sleeping(name, "3605"))
		s.until(name, "is known", func(*v1.Pod) error { return nil })
		if p, err := s.pod("slow"); err == nil {
			s.t.Errorf("the half-written pod is there: %v", p.Spec)
		}
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.ready("slow")
	s.RemoveManifest("beside.yaml")
	s.RemoveManifest("slow.yaml")
	for l := range strings.Lines(s.Log()) {
		if strings.Contains(l, "slow.yaml") {
			s.t.Errorf("it was taken for broken: %s", l)
		}
	}
}

// savesLikeEditors has the files of vim and emacs beside a manifest, and saves as vim does: by way of a backup.
func savesLikeEditors(s *standalone) {
	for _, name := range []string{".ed.yaml.swp", ".ed.yaml", "ed.yaml~", "#ed.yaml#", ".#ed.yaml", "4913", "ed.yaml.bak", "ed.yaml.orig", "README"} {
		s.WriteManifest(name, sleeping("leftover", "3606"))
	}
	s.WriteManifest("ed.yaml", sleeping("ed", "3607"))
	first := s.ready("ed")
	path := filepath.Join(s.Manifests, "ed.yaml")
	rename(s.t, path, path+"~")
	if err := os.WriteFile(path, []byte(sleeping("ed", "3608")), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.RemoveManifest("ed.yaml~")
	s.until("ed", "is another one", func(p *v1.Pod) error {
		if p.UID == first.UID {
			return fmt.Errorf("it is the old one")
		}
		return isReady(p)
	})
	if _, err := s.pod("leftover"); err == nil {
		s.t.Error("what an editor left runs as a pod")
	}
	s.RemoveManifest("ed.yaml")
}

func fixedMap(value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\ndata: {k: " + value + "}\nimmutable: true\n"
}

const readsFixed = `
metadata: {name: fixed}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "cat /v/k; echo; exec sleep 3600"]
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, configMap: {name: fixed}}]
`

func keepsWhatIsImmutable(s *standalone) {
	first := s.ready("fixed")
	s.prints("fixed", "c", "one\n")
	s.WriteManifest("fixed.yaml", fixedMap("two")+pods(readsFixed))
	s.invalid("fixed.yaml", "line 3: immutable: ConfigMap default/fixed is immutable, and keeps what it said before")
	if p := s.ready("fixed"); p.UID != first.UID || container(p, "c").RestartCount != 0 {
		s.t.Error("the pod beside it was touched")
	}
	file := filepath.Join(s.RootDir, "pods", string(first.UID), "volumes", "kubernetes.io~configmap", "v", "k")
	if b, err := os.ReadFile(file); err != nil || string(b) != "one" {
		s.t.Errorf("the volume holds %q, %v", b, err)
	}
	s.gone("fixed.yaml", s.others("fixed")...)
	s.WriteManifest("fixed.yaml", fixedMap("two")+pods(readsFixed))
	s.ready("fixed")
	s.prints("fixed", "c", "two\n")
	s.RemoveManifest("fixed.yaml")
}

// exchangesLinks keeps manifests as a ConfigMap volume holds files: links through ..data, which is exchanged at once.
func exchangesLinks(s *standalone) {
	publish := func(version, seconds string) {
		dir := filepath.Join(s.Manifests, "..v"+version)
		if err := os.Mkdir(dir, 0o750); err != nil {
			s.t.Fatal(err)
		}
		for _, name := range []string{"link-a", "link-b"} {
			if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(sleeping(name, seconds)), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
		next := filepath.Join(s.Manifests, "..next")
		if err := os.Symlink("..v"+version, next); err != nil {
			s.t.Fatal(err)
		}
		rename(s.t, next, filepath.Join(s.Manifests, "..data"))
	}
	publish("1", "3609")
	for _, name := range []string{"link-a", "link-b"} {
		if err := os.Symlink("..data/"+name+".yaml", filepath.Join(s.Manifests, name+".yaml")); err != nil {
			s.t.Fatal(err)
		}
	}
	a, b := s.ready("link-a"), s.ready("link-b")
	publish("2", "3610")
	for _, old := range []*v1.Pod{a, b} {
		s.until(strings.TrimSuffix(old.Name, "-"+s.NodeName), "is another one", func(p *v1.Pod) error {
			if p.UID == old.UID {
				return fmt.Errorf("it is the old one")
			}
			return isReady(p)
		})
	}
	s.RemoveManifest("link-a.yaml")
	s.RemoveManifest("link-b.yaml")
}

// breaksWhileDown restarts the agent with a file broken that was good: it cannot know what the pod should be.
func breaksWhileDown(s *standalone, stays *v1.Pod) {
	s.Kill()
	s.WriteManifest("stays.yaml", "kind: [\n")
	s.Start()
	s.invalid("stays.yaml", "document 1: line 2: not valid YAML")
	s.WriteManifest("other.yaml", sleeping("other", "3611")) // what is done for it is done after the start
	s.ready("other")
	s.gone("other.yaml", s.others("other")...)
	s.WriteManifest("stays.yaml", sleeping("stays", "3602"))
	s.until("stays", "goes on", func(p *v1.Pod) error {
		if c := container(p, "c"); p.UID != stays.UID || c.ContainerID != container(stays, "c").ContainerID || c.RestartCount != 0 {
			return fmt.Errorf("it is another one")
		}
		return isReady(p)
	})
}

// odd has what the rules of an API server let pass, and a kubelet runs.
const odd = `
metadata: {name: odd, annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined}}
spec:
  terminationGracePeriodSeconds: -5
  imagePullSecrets: [{}, {name: nowhere}]
  initContainers:
  - {name: a, image: $busybox, command: [sh, -c, "echo 1 >/one/file; echo 2 >/two/file"], ports: [{containerPort: 80, hostPort: %[1]d}],
     volumeMounts: [{name: one, mountPath: /one}, {name: two, mountPath: /two}]}
  - {name: b, image: $busybox, command: ["true"], ports: [{containerPort: 80, hostPort: %[1]d}]}
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "cat rel/file '/a:b/file' /twice/file; exec sleep 3600"]
    livenessProbe: {httpGet: {port: nowhere}, timeoutSeconds: 0, failureThreshold: 1, periodSeconds: 1}
    resources: {limits: {cpu: "0.9999999"}, requests: {cpu: 0.0001}}
    securityContext: {windowsOptions: {runAsUserName: x}, allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}
    ports: [{containerPort: 80, hostPort: %[2]d}, {containerPort: 80, hostPort: %[2]d, protocol: UDP}]
    volumeMounts:
    - {name: one, mountPath: rel}
    - {name: two, mountPath: "/a:b"}
    - {name: one, mountPath: /twice}
    - {name: nothing, mountPath: /nothing}
  volumes:
  - {name: one, emptyDir: {}}
  - {name: two}
  - {name: nothing, projected: {sources: [{}]}}
`

// manifestServer gives a manifest to those who have the key; an empty one is a failure.
type manifestServer struct {
	srv    *httptest.Server
	answer atomic.Pointer[string]
	same   atomic.Int32 // answers that nothing changed
	once   atomic.Bool  // the next answer names no pods
}

func newManifestServer(t *testing.T) *manifestServer {
	m := &manifestServer{}
	m.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := *m.answer.Load()
		if m.once.CompareAndSwap(true, false) {
			text = noPods
		}
		if r.Header.Get("X-Key") != "k" || text == "" {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, text))
		if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
			m.same.Add(1)
		}
		http.ServeContent(w, r, "pods.yaml", time.Time{}, strings.NewReader(text))
	}))
	t.Cleanup(m.srv.Close)
	return m
}

func followsURL(s *standalone, web *manifestServer) {
	p := s.ready("by-url")
	if a := p.Annotations["kubernetes.io/config.source"]; a != "http" {
		s.t.Errorf("its source is %q", a)
	}
	testbed.Eventually(s.t, soon, "the server need not send the same again", func() error {
		if web.same.Load() == 0 {
			return fmt.Errorf("it was asked for the whole each time")
		}
		return nil
	})
	web.answer.Store(new(""))
	s.invalid(web.srv.URL, "the server answers 503 Service Unavailable instead of 200 OK")
	if q := s.ready("by-url"); q.UID != p.UID || container(q, "c").ContainerID != container(p, "c").ContainerID {
		s.t.Error("the pod did not go on while the server failed")
	}
	web.answer.Store(new(noPods))
	keep := s.others("by-url")
	testbed.Eventually(s.t, soon, "the pod is gone", func() error { return s.LeftBeside(keep...) })
}
