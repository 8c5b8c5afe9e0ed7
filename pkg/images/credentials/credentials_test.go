package credentials

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func pullSecret(content string) v1.Secret {
	s := v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(content)}}
	s.Name, s.Namespace = "s", "ns"
	return s
}

func TestFromSecrets_MatchesRegistries(t *testing.T) {
	tests := map[string]struct {
		key, image string
		want       bool
	}{
		"the host":                    {"r.example", "r.example/a", true},
		"another host":                {"r.example", "s.example/a", false},
		"the port":                    {"r.example:5000", "r.example:5000/a", true},
		"another port":                {"r.example:5000", "r.example/a", false},
		"one label":                   {"*.example.com", "r.example.com/a", true},
		"a label in part":             {"r*.example.com", "r1.example.com/a", true},
		"several labels":              {"*.example.com", "a.r.example.com/a", false},
		"a path":                      {"r.example/team", "r.example/team/a", true},
		"a path that only begins so":  {"r.example/team", "r.example/teams/a", false},
		"a URL":                       {"https://r.example/v2/", "r.example/a", true},
		"the default registry":        {"https://index.docker.io/v1/", "busybox", true},
		"the default registry, named": {"docker.io", "docker.io/library/busybox", true},
		"the default is no other":     {"docker.io", "r.example/a", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			auth := base64.StdEncoding.EncodeToString([]byte("u:p:q"))
			got, err := FromSecrets(tt.image, []v1.Secret{pullSecret(`{"auths":{"` + tt.key + `":{"auth":"` + auth + `"}}}`)})
			if err != nil || (len(got) == 1) != tt.want {
				t.Fatalf("FromSecrets() = %v, %v; want a match: %v", len(got), err, tt.want)
			}
			if tt.want && (got[0].Auth.Username != "u" || got[0].Auth.Password != "p:q") {
				t.Error("the login is not the one of the secret")
			}
		})
	}
}

func TestFromSecrets_ReadsBothTypesAndTellsOfNeither(t *testing.T) {
	old := v1.Secret{Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"r.example":{"username":"old","password":"p"}}`)}}
	opaque := v1.Secret{Type: v1.SecretTypeOpaque}
	opaque.Name, opaque.Namespace = "plain", "ns"
	got, err := FromSecrets("r.example/a", []v1.Secret{old, pullSecret(`{"auths":{"r.example":{"auth":"hush!"}}}`), opaque, pullSecret(`hush`)})
	if len(got) != 1 || got[0].Auth.Username != "old" {
		t.Errorf("%d logins", len(got))
	}
	for _, want := range []string{
		"cannot use pull secret ns/s for r.example: auth is not base64 of username:password", `cannot use secret ns/plain for pulling: its type "Opaque"`,
		"key .dockerconfigjson is missing or not valid JSON",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hush") {
		t.Errorf("the error tells the secret: %v", err)
	}
}

func TestSort_PutsTheMostSpecificFirst(t *testing.T) {
	got, err := FromSecrets("r.example.com/team/app", []v1.Secret{pullSecret(`{"auths":{
		"*.example.com":{"username":"any","password":"p"}, "https://r.example.com":{"username":"host","password":"p"},
		"r.example.com/team":{"username":"team","password":"p"}, "r.example.com/team/app":{"username":"app","password":"p"}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, l := range Sort(append(got, got...)) {
		users = append(users, l.Auth.Username)
	}
	if diff := cmp.Diff([]string{"app", "team", "host", "any"}, users); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestFromFile_IsTheNodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if got, err := fromFile("r.example/a", path); err != nil || len(got) > 0 {
		t.Errorf("a file that is not there: %v, %v", got, err)
	}
	for content, want := range map[string]int{`{"auths":{"r.example":{"username":"node","password":"p"}}}`: 1, `{"auths":`: -1} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := fromFile("r.example/a", path)
		if (err != nil) != (want < 0) || want > 0 && (len(got) != want || got[0].Secret != nil) {
			t.Errorf("%s: %d logins, %v", content, len(got), err)
		}
	}
}
