package pulled

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/images/credentials"
)

func open(t *testing.T, root string, policy Policy) *Records {
	t.Helper()
	r, err := Open(root, policy, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ofSecret(name, password string) *credentials.Login {
	return &credentials.Login{Auth: cri.Auth{Username: "u", Password: password}, Secret: &credentials.Owner{Namespace: "ns", Name: name, UID: name}}
}

func ofAccount(name string) *credentials.Login {
	return &credentials.Login{Auth: cri.Auth{Username: "u", Password: "p"}, Account: &credentials.Owner{Namespace: "ns", Name: name, UID: name}}
}

func TestAllowed_ByPolicyAndByWhoPulled(t *testing.T) {
	type pull struct {
		image string
		with  *credentials.Login
	}
	const image = "r.example/a:1"
	secret := []pull{{image, ofSecret("s", "p")}}
	tests := map[string]struct {
		policy Policy
		pulls  []pull
		login  *credentials.Login
		want   bool
	}{
		"preloaded":                            {want: true},
		"preloaded, verified always":           {policy: Policy{Mode: kubelet.AlwaysVerify}},
		"preloaded, not on the list":           {policy: Policy{Mode: kubelet.NeverVerifyAllowlistedImages, Allow: []string{"r.example/b"}}},
		"preloaded, on the list":               {policy: Policy{Mode: kubelet.NeverVerifyAllowlistedImages, Allow: []string{"r.example/a"}}, want: true},
		"preloaded, below a name on the list":  {policy: Policy{Mode: kubelet.NeverVerifyAllowlistedImages, Allow: []string{"r.example/*"}}, want: true},
		"pulled with a secret, by nobody":      {pulls: secret},
		"the same secret":                      {pulls: secret, login: ofSecret("s", "p"), want: true},
		"the same secret with another content": {pulls: secret, login: ofSecret("s", "q"), want: true},
		"another secret with the same content": {pulls: secret, login: ofSecret("t", "p"), want: true},
		"another secret":                       {pulls: secret, login: ofSecret("t", "q")},
		"an account instead of a secret":       {pulls: secret, login: ofAccount("s")},
		"verified never":                       {policy: Policy{Mode: kubelet.NeverVerify}, pulls: secret, want: true},
		"the same account":                     {pulls: []pull{{image, ofAccount("s")}}, login: ofAccount("s"), want: true},
		"another account":                      {pulls: []pull{{image, ofAccount("s")}}, login: ofAccount("t")},
		"pulled with no login":                 {pulls: []pull{{image, nil}}, want: true},
		"pulled with the node's login":         {pulls: []pull{{image, &credentials.Login{}}}, want: true},
		"pulled under another name alone":      {pulls: []pull{{"r.example/b:1", nil}}},
		"first private, then public":           {pulls: append(secret, pull{image, nil}), want: true},
		"another tag of the same image":        {pulls: []pull{{"r.example/a:2", nil}}, want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := open(t, t.TempDir(), tt.policy)
			for _, p := range tt.pulls {
				if err := r.Begin(p.image); err != nil {
					t.Fatal(err)
				}
				r.Done(p.image, "sha256:1", p.with)
			}
			got := r.Allowed(image, "sha256:1", func() []credentials.Login {
				if tt.login == nil {
					return nil
				}
				return []credentials.Login{*tt.login}
			})
			if got != tt.want {
				t.Errorf("Allowed() = %v", got)
			}
		})
	}
}

// TestAllowed_LearnsASecretThatHasChanged guards against a secret that is recreated and then rotated: each step shows
// that the pod may, and must be remembered.
func TestAllowed_LearnsASecretThatHasChanged(t *testing.T) {
	r := open(t, t.TempDir(), Policy{})
	if err := r.Begin("a"); err != nil {
		t.Fatal(err)
	}
	r.Done("a", "id", ofSecret("old", "p"))
	for _, l := range []*credentials.Login{ofSecret("new", "p"), ofSecret("new", "q"), ofSecret("third", "q")} {
		if !r.Allowed("a", "id", func() []credentials.Login { return []credentials.Login{*l} }) {
			t.Errorf("secret %s is refused", l.Secret.Name)
		}
	}
}

// TestRecover_TrustsNobodyWithWhatACrashLeft kills an agent between the begin of a pull and its end.
func TestRecover_TrustsNobodyWithWhatACrashLeft(t *testing.T) {
	root := t.TempDir()
	r := open(t, root, Policy{})
	for _, image := range []string{"there", "gone", "unasked"} {
		if err := r.Begin(image); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.pulling.Dir, "sha256-garbage"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = open(t, root, Policy{})
	none := func() []credentials.Login { return nil }
	if r.Allowed("there", "id", none) {
		t.Error("an image is given away whose pull was cut off")
	}
	err := r.Recover(func(image string) (string, error) {
		if image == "unasked" {
			return "", errors.New("the runtime does not answer")
		}
		return map[string]string{"there": "id"}[image], nil
	})
	if err == nil || err.Error() != "the runtime does not answer" {
		t.Errorf("error %v", err)
	}
	left, err := os.ReadDir(r.pulling.Dir)
	if err != nil || len(left) != 1 {
		t.Errorf("intents left: %v, %v; want the one that could not be asked about", left, err)
	}
	if r.Allowed("there", "id", none) {
		t.Error("an image is given away after the recovery")
	}
	if !r.Allowed("preloaded", "other", none) {
		t.Error("an image that nobody pulled is refused")
	}
}

func TestRecords_ThatAreGarbledAllowNobody(t *testing.T) {
	r := open(t, t.TempDir(), Policy{})
	if err := os.WriteFile(filepath.Join(r.pulled.Dir, fileName("id")), []byte(`{"kind":"Pod"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r.Allowed("a", "id", func() []credentials.Login { return nil }) {
		t.Error("a garbled record allows")
	}
	if err := r.Begin("a"); err != nil {
		t.Fatal(err)
	}
	r.Done("a", "id", nil)
	if !r.Allowed("a", "id", nil) {
		t.Error("a pull does not mend the record")
	}
}

// TestDone_WritesTheKubeletsFormat holds the file to what a kubelet reads, without a password in it.
func TestDone_WritesTheKubeletsFormat(t *testing.T) {
	r := open(t, t.TempDir(), Policy{})
	if err := r.Begin("r.example/a:1@sha256:" + strings.Repeat("0", 64)); err != nil {
		t.Fatal(err)
	}
	r.Done("r.example/a:1@sha256:"+strings.Repeat("0", 64), "sha256:1", ofSecret("s", "hush"))
	b, err := os.ReadFile(filepath.Join(r.pulled.Dir, fileName("sha256:1")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.pulled.Get(fileName("sha256:1"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]kubelet.ImagePullCredentials{"r.example/a": {KubernetesSecrets: []kubelet.ImagePullSecret{
		{UID: "s", Namespace: "ns", Name: "s", CredentialHash: ofSecret("s", "hush").Hash()},
	}}}
	if diff := cmp.Diff(want, got.CredentialMapping); diff != "" || got.ImageRef != "sha256:1" || got.LastUpdatedTime.IsZero() {
		t.Errorf("record %+v (-want +got):\n%s", got, diff)
	}
	if bytes.Contains(b, []byte("hush")) {
		t.Error("the record holds the password")
	}
	if left, err := os.ReadDir(r.pulling.Dir); err != nil || len(left) != 0 {
		t.Errorf("intents left: %v, %v", left, err)
	}
}

func TestPrune_ForgetsImagesThatAreGone(t *testing.T) {
	r := open(t, t.TempDir(), Policy{})
	for _, id := range []string{"here", "gone"} {
		if err := r.Begin(id); err != nil {
			t.Fatal(err)
		}
		r.Done(id, id, nil)
	}
	if err := r.Prune([]string{"here"}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(r.pulled.Dir); len(left) != 2 {
		t.Error("a record that is newer than the list of images is forgotten")
	}
	if err := r.Prune([]string{"here"}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(r.pulled.Dir); len(left) != 1 || left[0].Name() != fileName("here") {
		t.Errorf("left: %v", left)
	}
}
