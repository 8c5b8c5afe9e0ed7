package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const privatePuller = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  imagePullSecrets: [%s]
  containers: [{name: c, image: "%s", imagePullPolicy: %s, command: [/web, exit, "0"]}]
`

func pullingWith(name, secrets, image, policy string) string {
	return pods(fmt.Sprintf(privatePuller, name, secrets, image, policy))
}

// dockerSecret is a manifest of a pull secret; the older type holds the same without "auths".
func dockerSecret(name, host, password string, older bool) string {
	entry := fmt.Sprintf(`{%q:{"auth":%q}}`, host, base64.StdEncoding.EncodeToString([]byte(testbed.RegistryUser+":"+password)))
	kind, key := "kubernetes.io/dockercfg", ".dockercfg"
	if !older {
		kind, key, entry = "kubernetes.io/dockerconfigjson", ".dockerconfigjson", `{"auths":`+entry+`}`
	}
	return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: %s\nstringData: {%s: '%s'}\n", name, kind, key, entry)
}

// TestImagesPrivate pulls from a real registry that asks for a password, with every kind of login that a node and a pod
// can have, and then asks for what is there by now with other logins, and with none.
func TestImagesPrivate(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{NotYet: true})
	r := s.env.Registry(testbed.RegistryConfig{Auth: true})
	flags, asked := s.env.CredentialProviders(r.Host+"/provided", r.Host+"/refused", "")
	s.AddArgs(flags...)
	web := testbed.Images(t)[2]
	push := func(name string) string { // each an image of its own: an image's ID is what it holds
		im := web
		im.Files = append(slices.Clone(web.Files), ociarchive.File{Path: "/name", Content: []byte(name)})
		return r.Push(im, name, "1")
	}
	team, older, wildcard, provided, refused, nodes, never := push("team/app"), push("older/app"), push("any/app"), push("provided/app"), push("refused/app"), push("node/app"), push("team/never")
	login := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, r.Host+"/node", testbed.RegistryUser, testbed.RegistryPassword)
	if err := os.WriteFile(filepath.Join(s.RootDir, "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	s.WriteManifest("secrets.yaml", dockerSecret("team", r.Host+"/team", testbed.RegistryPassword, false)+
		dockerSecret("wrong", r.Host, "wrong", false)+dockerSecret("older", "https://"+r.Host+"/v1/", testbed.RegistryPassword, true)+
		dockerSecret("wildcard", strings.Replace(r.Host, "127.0", "1*7.*", 1), testbed.RegistryPassword, false)+
		dockerSecret("copy", r.Host, testbed.RegistryPassword, false))
	s.WriteManifest("pods.yaml", pullingWith("team", "{name: wrong}, {name: team}", team, "IfNotPresent")+
		pullingWith("older", "{name: older}", older, "IfNotPresent")+pullingWith("wildcard", "{name: wildcard}", wildcard, "IfNotPresent")+
		pullingWith("provided", "", provided, "IfNotPresent")+pullingWith("refused", "", refused, "IfNotPresent")+
		pullingWith("node", "", nodes, "IfNotPresent")+pullingWith("none", "{name: absent}", never, "IfNotPresent"))
	s.Start()

	t.Run("every kind of login pulls", func(t *testing.T) {
		s := s.on(t)
		for name, image := range map[string]string{"team": team, "older": older, "wildcard": wildcard, "provided": provided, "node": nodes} {
			s.phase(name, v1.PodSucceeded)
			s.event(name, "Pulled", fmt.Sprintf("Successfully pulled image %q in ", image))
		}
	})
	t.Run("a provider that fails, and a secret that is missing, are told", func(t *testing.T) {
		s := s.on(t)
		s.event("refused", "Failed", "credential provider bad: ")
		s.event("refused", "Failed", "no role")
		s.event("none", "FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed.")
		s.until("none", "backs off", waits("c", "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: ", never)))
	})
	const usable = "already present on machine and can be accessed by the pod"
	t.Run("what is present is given to those who may pull it", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("again.yaml", pullingWith("same", "{name: team}", team, "Never")+pullingWith("copy", "{name: copy}", team, "IfNotPresent")+
			pullingWith("everybody", "", nodes, "Never")+pullingWith("again", "", provided, "Never")+
			pullingWith("stranger", "", team, "IfNotPresent")+pullingWith("thief", "{name: wrong}", team, "Never"))
		s.phase("same", v1.PodSucceeded)
		s.event("same", "Pulled", usable)
		s.phase("copy", v1.PodSucceeded)
		s.event("copy", "Pulled", usable)
		s.phase("everybody", v1.PodSucceeded)
		s.phase("again", v1.PodSucceeded)
		s.until("stranger", "is refused", waits("c", "ImagePullBackOff", "ErrImagePull: "))
		s.until("thief", "is refused", waits("c", "ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", team)))
	})
	t.Run("who may use an image outlives the agent", func(t *testing.T) {
		s := s.on(t)
		s.Restart()
		s.WriteManifest("later.yaml", pullingWith("same2", "{name: team}", team, "Never")+pullingWith("thief2", "", team, "Never"))
		s.phase("same2", v1.PodSucceeded)
		s.until("thief2", "is refused", waits("c", "ErrImageNeverPull", "is not present"))
		b, err := os.ReadFile(asked)
		if images := strings.Fields(string(b)); err != nil || !slices.Contains(images, r.Host+"/provided/app") || slices.Contains(images, r.Host+"/node/app") {
			t.Errorf("the providers were asked about %q, %v", images, err)
		}
	})
	t.Run("no password is in a log, an event or a record", func(t *testing.T) {
		auth := base64.StdEncoding.EncodeToString([]byte(testbed.RegistryUser + ":" + testbed.RegistryPassword))
		if strings.Contains(s.Log(), auth) || strings.Contains(s.Log(), testbed.RegistryUser+":") {
			t.Error("the agent's log tells a login")
		}
		records, err := filepath.Glob(filepath.Join(s.RootDir, "image_manager", "pulled", "*"))
		if err != nil || len(records) != 5 {
			t.Errorf("records: %q, %v", records, err)
		}
		for _, path := range records {
			b, err := os.ReadFile(path)
			if err != nil || strings.Contains(string(b), `"`+testbed.RegistryPassword+`"`) || strings.Contains(string(b), auth) {
				t.Errorf("record %s: %v %s", path, err, b)
			}
		}
		if left, err := filepath.Glob(filepath.Join(s.RootDir, "image_manager", "pulling", "*")); len(left) > 0 {
			t.Errorf("pulls that have ended are still recorded: %q, %v", left, err)
		}
	})
	t.Run("the node names its images", func(t *testing.T) {
		var n v1.Node
		testbed.Eventually(t, 2*soon, "the Node names the images that were pulled", func() error {
			if err := s.local("/api/v1/nodes/"+s.NodeName, &n); err != nil {
				return err
			}
			names := map[string]bool{}
			last := int64(1) << 62
			for _, i := range n.Status.Images {
				for _, name := range i.Names {
					names[name] = true
				}
				if i.SizeBytes > last {
					return errors.New("the largest is not the first")
				}
				last = i.SizeBytes
			}
			if !names[team] || !names[testbed.BusyboxImage] {
				return fmt.Errorf("it names %v", names)
			}
			return nil
		})
	})
	t.Run("nothing stays", func(t *testing.T) {
		s := s.on(t)
		s.RemoveManifest("again.yaml")
		s.RemoveManifest("later.yaml")
		s.gone("pods.yaml")
	})
}
