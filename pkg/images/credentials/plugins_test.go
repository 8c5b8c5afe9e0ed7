package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
)

// TestMain is also the plugin: a program of its own, as it is for a node.
func TestMain(m *testing.M) {
	if os.Getenv("PLUGIN_MODE") != "" {
		os.Exit(pluginMain())
	}
	os.Exit(m.Run())
}

// pluginMain answers with the user that it was asked about, and notes in $PLUGIN_LOG that it ran.
func pluginMain() int {
	var q credentialprovider.CredentialProviderRequest
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return 2
	}
	log, err := os.OpenFile(os.Getenv("PLUGIN_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 3
	}
	fmt.Fprintln(log, q.Image, q.ServiceAccountToken, q.ServiceAccountAnnotations, strings.Join(os.Args[1:], " "))
	log.Close()
	r := map[string]any{"apiVersion": q.APIVersion, "kind": "CredentialProviderResponse", "cacheKeyType": os.Getenv("PLUGIN_SCOPE")}
	r["auth"] = map[string]any{"*.example": map[string]string{"username": "plugin", "password": "hush"}, "r.other": map[string]string{"username": "x"}}
	switch os.Getenv("PLUGIN_MODE") {
	case "fail":
		fmt.Fprintln(os.Stderr, "no role for this node")
		return 1
	case "garbage":
		fmt.Println("hush")
		return 0
	case "huge":
		fmt.Println(strings.Repeat("x", 2*maxAnswer))
		return 0
	case "other":
		r["apiVersion"] = "credentialprovider.kubelet.k8s.io/v2"
	case "brief":
		r["cacheDuration"] = "0s"
	}
	if json.NewEncoder(os.Stdout).Encode(r) != nil {
		return 4
	}
	return 0
}

// plugin makes plugins of one program, and a function that tells how often it ran.
func onePlugin(t *testing.T, mode, scope, more string, accounts *Accounts) (*Plugins, func() []string) {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "login-plugin"))
	}
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	config := filepath.Join(dir, "config.yaml")
	content := fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: login-plugin
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.example", "r.example.com:5000/team"]
  defaultCacheDuration: 10m
  args: [-v, "2"]
  env: [{name: PLUGIN_MODE, value: %q}, {name: PLUGIN_SCOPE, value: %q}, {name: PLUGIN_LOG, value: %q}]
%s`, mode, scope, log, more)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPlugins(config, dir, accounts)
	if err != nil {
		t.Fatal(err)
	}
	return p, func() []string {
		b, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

func TestPlugins_KeepAnswersForWhatTheyAreFor(t *testing.T) {
	images := []string{"r.example/a:1", "r.example/a:2", "r.example/b", "s.example/a", "r.example.com:5000/teams/a", "elsewhere.com/a"}
	for scope, runs := range map[string]int{"Image": 3, "Registry": 2, "Global": 1} {
		t.Run(scope, func(t *testing.T) {
			p, log := onePlugin(t, "ok", scope, "", nil)
			for _, image := range images {
				got, err := p.logins(t.Context(), &v1.Pod{}, image)
				asked := strings.Contains(image, ".example/")
				if err != nil || (len(got) == 1) != asked || asked && (got[0].Auth.Username != "plugin" || got[0].Account != nil) {
					t.Errorf("%s: %d logins, %v", image, len(got), err)
				}
			}
			if got := log(); len(got) != runs || !strings.HasSuffix(got[0], "map[] -v 2") {
				t.Errorf("it ran %q, want %d times", got, runs)
			}
			p.now = func() time.Time { return time.Now().Add(11 * time.Minute) }
			if _, err := p.logins(t.Context(), &v1.Pod{}, images[0]); err != nil || len(log()) != runs+1 {
				t.Errorf("an answer that has expired is used: %q, %v", log(), err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		p, log := onePlugin(t, "brief", "Global", "", nil)
		for range 2 {
			if _, err := p.logins(t.Context(), &v1.Pod{}, images[0]); err != nil {
				t.Error(err)
			}
		}
		if got := log(); len(got) != 2 {
			t.Errorf("it ran %q", got)
		}
	})
	t.Run("asked at the same time", func(t *testing.T) {
		p, log := onePlugin(t, "ok", "Image", "", nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if got, err := p.logins(t.Context(), &v1.Pod{}, images[0]); err != nil || len(got) != 1 {
					t.Errorf("%d logins, %v", len(got), err)
				}
			})
		}
		wg.Wait()
		if got := log(); len(got) != 1 {
			t.Errorf("it ran %q", got)
		}
	})
}

func TestPlugins_ThatFailAreNamedAndTellNoSecret(t *testing.T) {
	for mode, want := range map[string]string{
		"fail": "exit status 1: no role for this node", "garbage": "not valid JSON", "huge": "more than 1048576 bytes",
		"other": `is "CredentialProviderResponse" of "credentialprovider.kubelet.k8s.io/v2"`, "ok": `cacheKeyType "Host"`,
	} {
		p, _ := onePlugin(t, mode, "Host", "", nil)
		got, err := p.logins(t.Context(), &v1.Pod{}, "r.example/a")
		if len(got) != 0 || err == nil || !strings.HasPrefix(err.Error(), "credential provider login-plugin: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %d logins, %v; want %q", mode, len(got), err, want)
		}
	}
}

func TestPlugins_GetTheServiceAccountsToken(t *testing.T) {
	more := `
  tokenAttributes:
    serviceAccountTokenAudience: registry
    cacheType: ServiceAccount
    requireServiceAccount: true
    requiredServiceAccountAnnotationKeys: [example.com/role]
`
	annotations := map[string]string{"example.com/role": "reader", "other": "x"}
	accounts := &Accounts{
		API: anyAccount(annotations),
		Token: func(_ context.Context, p *v1.Pod, audience string) (string, error) {
			return audience + "-of-" + p.Name, nil
		},
	}
	p, log := onePlugin(t, "ok", "Image", more, accounts)
	pod := func(name, account string) *v1.Pod {
		p := &v1.Pod{Spec: v1.PodSpec{ServiceAccountName: account}}
		p.Namespace, p.Name = "ns", name
		return p
	}
	for _, name := range []string{"one", "two"} {
		got, err := p.logins(t.Context(), pod(name, "builder"), "r.example/a")
		if err != nil || len(got) != 1 || got[0].Account == nil || *got[0].Account != (Owner{"ns", "builder", "sa-uid"}) {
			t.Errorf("%s: %d logins, %v", name, len(got), err)
		}
	}
	if got := log(); len(got) != 1 || !strings.Contains(got[0], "registry-of-one map[example.com/role:reader]") {
		t.Errorf("it ran %q", got)
	}
	if got, err := p.logins(t.Context(), pod("static", ""), "r.example/a"); err != nil || len(got) != 0 {
		t.Errorf("without an account: %d logins, %v", len(got), err)
	}
	delete(annotations, "example.com/role")
	if got, err := p.logins(t.Context(), pod("one", "builder"), "r.example/a"); err != nil || len(got) != 0 {
		t.Errorf("without the annotation: %d logins, %v", len(got), err)
	}
}

func TestLoadPlugins_NamesEveryMistake(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dead"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n"
	for content, want := range map[string][]string{
		"":                      {"must hold one CredentialProviderConfig"},
		head:                    {"providers: must name at least one"},
		"kind: Pod\n":           {`must be CredentialProviderConfig of kubelet.config.k8s.io/v1, not "Pod"`},
		head + "provider: []\n": {"line 3: provider: "},
		head + "providers: [{name: ../sh, apiVersion: v1, matchImages: ['https://x']}]": {
			"name: must be the name of a program", `apiVersion: "v1" is none of`, "matchImages[0]:", "defaultCacheDuration: is required",
		},
		head + "providers: [{name: dead, tokenAttributes: {}}, {name: dead}]": {
			"dead is not executable", "another one of this name", "serviceAccountTokenAudience: is required", "cacheType: must be", "requireServiceAccount: is required",
		},
		head + "providers: [{name: gone}]": {"gone: no such file or directory"},
	} {
		path := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadPlugins(path, dir, nil)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %v, want %q in it", content, err, w)
			}
		}
	}
}

// anyAccount has a service account of each name, with these annotations.
type anyAccount map[string]string

func (a anyAccount) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: "sa-uid", Annotations: a}}, nil
}
