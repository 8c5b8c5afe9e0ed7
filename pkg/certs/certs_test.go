package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// signer is an API server whose approver and signer answer at once, as decide says.
type signer struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	life   time.Duration
	age    time.Duration                                   // of what is signed
	decide func(*certificatesv1.CertificateSigningRequest) // nil: approve

	mu   sync.Mutex
	made []string
	csrs map[string]*certificatesv1.CertificateSigningRequest
	w    *watch.FakeWatcher
}

func newSigner(t *testing.T) *signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t: t, key: k, life: time.Hour, csrs: map[string]*certificatesv1.CertificateSigningRequest{}, w: watch.NewFake()}
}

func (s *signer) Create(_ context.Context, _ kube.Key, obj, _ runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := obj.(*certificatesv1.CertificateSigningRequest)
	if s.csrs[r.Name] != nil {
		return apierrors.NewAlreadyExists(certificatesv1.Resource("certificatesigningrequests"), r.Name)
	}
	s.made, s.csrs[r.Name] = append(s.made, r.Name), r
	if s.decide != nil {
		s.decide(r)
		return nil
	}
	r.Status.Certificate = s.sign(r.Spec.Request)
	return nil
}

func (s *signer) Get(_ context.Context, k kube.Key, into runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.csrs[k.Name].DeepCopyInto(into.(*certificatesv1.CertificateSigningRequest))
	return nil
}

func (s *signer) Watch(context.Context, kube.Key, metav1.ListOptions) (watch.Interface, error) {
	return s.w, nil
}

// requests are the names of those that were made.
func (s *signer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.made)
}

func (s *signer) sign(request []byte) []byte {
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: csr.Subject, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses,
		NotBefore: time.Now().Add(-s.age), NotAfter: time.Now().Add(s.life),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}}, csr.PublicKey, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestObtain_KeepsTheCertificateAndTheOneBefore(t *testing.T) {
	s, store := newSigner(t), Store{Dir: t.TempDir(), Name: "kubelet-client"}
	if _, err := store.load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load() of an empty store: %v", err)
	}
	for range 3 {
		c, err := obtain(t.Context(), s, store, Client("n1"))
		if err != nil {
			t.Fatal(err)
		}
		now, err := store.load()
		if err != nil || !now.Leaf.Equal(c.Leaf) || now.Leaf.Subject.CommonName != "system:node:n1" {
			t.Errorf("Load() = %v, %v; want what was issued", now, err)
		}
	}
	kept, _ := filepath.Glob(filepath.Join(store.Dir, "*"))
	if len(kept) != 3 || len(s.made) != 3 {
		t.Errorf("files %v after requests %v, want the link and two generations", kept, s.made)
	}
	if info, err := os.Stat(store.Current()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestObtain_FindsItsRequestAgainAfterACrash(t *testing.T) {
	s, store := newSigner(t), Store{Dir: t.TempDir(), Name: "kubelet-client"}
	s.decide = func(*certificatesv1.CertificateSigningRequest) {}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := obtain(ctx, s, store, Client("n1")); err == nil || !strings.Contains(err.Error(), "kubectl certificate approve") {
		t.Errorf("a request that nobody approves: %v", err)
	}
	r := s.csrs[s.made[0]]
	r.Status.Certificate = s.sign(r.Spec.Request)
	if _, err := obtain(t.Context(), s, store, Client("n1")); err != nil || len(s.made) != 1 {
		t.Errorf("%v, requests %v; want the first one used", err, s.made)
	}
}

func TestObtain_AsksWithAnotherKeyAfterADenial(t *testing.T) {
	s, store := newSigner(t), Store{Dir: t.TempDir(), Name: "kubelet-client"}
	s.decide = func(r *certificatesv1.CertificateSigningRequest) {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Reason: "No", Message: "who are you"}}
	}
	if _, err := obtain(t.Context(), s, store, Client("n1")); !errors.Is(err, errDenied) || !strings.Contains(err.Error(), "who are you") {
		t.Errorf("a denied request: %v", err)
	}
	s.decide = nil
	if _, err := obtain(t.Context(), s, store, Client("n1")); err != nil || len(s.made) != 2 {
		t.Errorf("%v, requests %v; want a second one", err, s.made)
	}
}

func TestRotation_RenewsInTimeAndForNewAddresses(t *testing.T) {
	store := Store{Dir: t.TempDir(), Name: "kubelet-server"}
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		addresses := []v1.NodeAddress{}
		var mu sync.Mutex
		r := &Rotation{Store: store, API: func() API { return s }, Event: func(string, string) {}, Log: slog.New(slog.DiscardHandler), Subject: func() (Subject, bool) {
			mu.Lock()
			defer mu.Unlock()
			return Serving("n1", addresses)
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		time.Sleep(time.Minute)
		if len(s.requests()) != 0 {
			t.Errorf("requests %v before the node has an address", s.requests())
		}
		set := func(ip string) {
			mu.Lock()
			defer mu.Unlock()
			addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: ip}, {Type: v1.NodeHostName, Address: "n1"}}
		}
		set("10.0.0.1")
		time.Sleep(2 * time.Minute)
		if c := r.Current(); c == nil || c.Leaf.VerifyHostname("10.0.0.1") != nil {
			t.Fatalf("no certificate for the address: %v", s.requests())
		}
		set("10.0.0.2")
		time.Sleep(2 * time.Minute)
		if c := r.Current(); c.Leaf.VerifyHostname("10.0.0.2") != nil || len(s.requests()) != 2 {
			t.Errorf("requests %v, want one more for the new address", s.requests())
		}
		time.Sleep(58 * time.Minute)
		if c := r.Current(); !time.Now().Before(c.Leaf.NotAfter) || len(s.requests()) != 3 {
			t.Errorf("requests %v, valid until %v at %v", s.requests(), c.Leaf.NotAfter, time.Now())
		}
	})
}

func TestRotation_PausesWhenWhatIsIssuedIsDueAtOnce(t *testing.T) {
	for life, most := range map[time.Duration]int{-time.Minute: 30, 2 * time.Minute: 70} { // the node's clock is ahead
		rotateDueAtOnce(t, life, most)
	}
}

func TestRotation_CountsItsFailures(t *testing.T) {
	r := &Rotation{Event: func(string, string) {}, Log: slog.New(slog.DiscardHandler)}
	r.told(errors.New("denied"))
	if got := r.Failures(); got != 1 {
		t.Errorf("%d failures", got)
	}
}

func rotateDueAtOnce(t *testing.T, life time.Duration, most int) {
	store := Store{Dir: t.TempDir(), Name: "kubelet-client"}
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.age, s.life = 100*time.Minute, life
		r := &Rotation{
			Store: store, API: func() API { return s }, Event: func(string, string) {}, Log: slog.New(slog.DiscardHandler),
			Subject: func() (Subject, bool) { return Client("n1"), true },
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		time.Sleep(time.Hour)
		if n := len(s.requests()); n < 10 || n > most {
			t.Errorf("%d requests in an hour for certificates that live for %s, want 10 to %d", n, life, most)
		}
		if c := r.Current(); life > 0 && !time.Now().Before(c.Leaf.NotAfter) {
			t.Errorf("the certificate in use is over since %s", c.Leaf.NotAfter)
		}
	})
}

func TestUsable(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	const head = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: 'https://x'}}]\n"
	store := Store{Dir: dir, Name: "kubelet-client"}
	s := newSigner(t)
	if _, err := obtain(t.Context(), s, store, Client("n1")); err != nil {
		t.Fatal(err)
	}
	byPath := write("by-path", head+"users: [{name: u, user: {client-certificate: "+store.Current()+", client-key: "+store.Current()+"}}]\n")
	tests := map[string]struct {
		path  string
		after time.Duration
		want  bool
		err   string
	}{
		"no file":            {path: filepath.Join(dir, "none")},
		"a token":            {path: write("token", head+"users: [{name: u, user: {token: t}}]\n"), want: true},
		"a certificate":      {path: byPath, want: true},
		"an old certificate": {path: byPath, after: 2 * time.Hour},
		"a lost certificate": {path: write("lost", head+"users: [{name: u, user: {client-certificate: "+dir+"/gone}}]\n")},
		"no user":            {path: write("empty", "apiVersion: v1\nkind: Config\n"), err: "names no user"},
		"not a kubeconfig":   {path: write("garbled", "{{{"), err: "cannot use the kubeconfig"},
		"half a certificate": {path: write("half", head+"users: [{name: u, user: {client-certificate-data: bm90aGluZw==}}]\n")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := usable(tt.path, time.Now().Add(tt.after))
			if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("usable() = %v, %v; want %v, %q", got, err, tt.want, tt.err)
			}
		})
	}
	if !store.InUse(byPath) || store.InUse(filepath.Join(dir, "token")) {
		t.Error("InUse() does not tell whose certificate a kubeconfig shows")
	}
}

// kubeadm init writes a kubeconfig with the certificate in it, and then looks for it in the store.
func TestAdopt_TakesTheKubeconfigsOwnCertificateUnlessItWasRenewed(t *testing.T) {
	theirs, store := Store{Dir: t.TempDir(), Name: "theirs"}, Store{Dir: filepath.Join(t.TempDir(), "pki"), Name: "kubelet-client"}
	s := newSigner(t)
	path := filepath.Join(theirs.Dir, "kubelet.conf")
	issue := func() *x509.Certificate {
		t.Helper()
		c, err := obtain(t.Context(), s, theirs, Client("n1"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(theirs.Current())
		if err != nil {
			t.Fatal(err)
		}
		data := base64.StdEncoding.EncodeToString(b)
		conf := "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n" +
			"clusters: [{name: k, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {client-certificate-data: " + data + ", client-key-data: " + data + "}}]\n"
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	expect := func(what string, after time.Duration, ok bool, leaf *x509.Certificate) {
		t.Helper()
		got, err := store.Adopt(path, time.Now().Add(after))
		c, loadErr := store.load()
		if got != ok || errors.Join(err, loadErr) != nil || !c.Leaf.Equal(leaf) {
			t.Errorf("%s: Adopt() = %t, %v; the store has %v, %v", what, got, err, c, loadErr)
		}
	}
	s.age = 2 * time.Minute
	first := issue()
	expect("first", 0, true, first)
	expect("again", 0, true, first)
	expect("over", 2*time.Hour, false, first)
	s.age = time.Minute
	renewed, err := obtain(t.Context(), s, store, Client("n1"))
	if err != nil {
		t.Fatal(err)
	}
	expect("renewed", 0, true, renewed.Leaf)
	s.age = 0
	expect("another kubeconfig", 0, true, issue())
	if err := os.WriteFile(path, []byte("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {user: u}}]\n"+
		"users: [{name: u, user: {client-certificate-data: eA==, client-key-data: eA==}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ok, err := store.Adopt(path, time.Now()); ok || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("half a certificate: %t, %v", ok, err)
	}
}

func TestFiles_GoesOnWithTheOldWhenTheNewIsUnusable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	reads := 0
	f := Files[string]{Paths: []string{path}, Log: slog.New(slog.DiscardHandler), Read: func(paths []string) (string, error) {
		reads++
		b, err := os.ReadFile(paths[0])
		if string(b) == "bad" {
			return "", errors.New("bad")
		}
		return string(b), err
	}}
	if _, err := f.Get(); err == nil {
		t.Error("Get() of no file: no error")
	}
	at := time.Now().Add(-time.Hour)
	for _, step := range []struct {
		text, want string
		reads      int
	}{{"one", "one", 2}, {"one", "one", 2}, {"bad", "one", 3}, {"two", "two", 4}} {
		if old, _ := os.ReadFile(path); string(old) != step.text {
			at = at.Add(time.Minute)
			if err := errors.Join(os.WriteFile(path, []byte(step.text), 0o600), os.Chtimes(path, at, at)); err != nil {
				t.Fatal(err)
			}
		}
		f.checked = time.Time{}
		if got, err := f.Get(); got != step.want || err != nil || reads != step.reads {
			t.Errorf("Get() with %q there = %q, %v after %d reads; want %q after %d", step.text, got, err, reads, step.want, step.reads)
		}
	}
	// The rest of a write that comes within one tick of the clock leaves the time as it was.
	now := time.Now()
	for _, step := range []struct{ text, want string }{{"bad", "two"}, {"whole", "whole"}} {
		if err := errors.Join(os.WriteFile(path, []byte(step.text), 0o600), os.Chtimes(path, now, now)); err != nil {
			t.Fatal(err)
		}
		f.checked = time.Time{}
		if got, err := f.Get(); got != step.want || err != nil {
			t.Errorf("Get() with %q there = %q, %v; want %q", step.text, got, err, step.want)
		}
	}
}
