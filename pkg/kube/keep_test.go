package kube_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

// away is an API server that gives tokens, or an error.
type away struct {
	kube.ObjectClient
	token string
	err   error
}

func (a *away) Get(context.Context, kube.Key, runtime.Object) error { return a.err }

func (a *away) Create(_ context.Context, _ kube.Key, _, into runtime.Object) error {
	if a.err == nil {
		into.(*authenticationv1.TokenRequest).Status = authenticationv1.TokenRequestStatus{Token: a.token, ExpirationTimestamp: metav1.NewTime(time.Unix(1, 0))}
	}
	return a.err
}

func (a *away) Patience(least time.Duration) time.Duration { return least }

func TestKeep_ATokenIsThePodsOwnAndOnlyForAnOutage(t *testing.T) {
	dir := t.TempDir()
	keep, err := kube.OpenKeep(filepath.Join(dir, "keep"), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	server := &away{token: "t1"}
	o := kube.NewObjects(server, func(types.UID) {}, keep, nil)
	ask := func(uid types.UID, audience string) (string, error) {
		r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{audience}, BoundObjectRef: &authenticationv1.BoundObjectReference{UID: uid},
		}}
		got, err := o.Token(t.Context(), "ns", "default", r)
		return got.Status.Token, err
	}
	if token, err := ask("u1", "a"); token != "t1" || err != nil {
		t.Fatal(token, err)
	}
	server.err = errors.New("connection refused")
	if token, err := ask("u1", "a"); token != "t1" || err != nil {
		t.Errorf("during an outage: %q, %v; want the token of before", token, err)
	}
	for _, other := range []struct {
		uid      types.UID
		audience string
	}{{"u2", "a"}, {"u1", "b"}} {
		if token, err := ask(other.uid, other.audience); err == nil {
			t.Errorf("%v got the token of another: %q", other, token)
		}
	}
	server.err = apierrors.NewForbidden(v1.Resource("serviceaccounts"), "default", errors.New("no"))
	if token, err := ask("u1", "a"); err == nil {
		t.Errorf("a refusal was answered with the token of before: %q", token)
	}
	server.err = errors.New("connection refused")
	o.Unreference("u1")
	if token, err := ask("u1", "a"); err == nil {
		t.Errorf("a pod that is gone left its token: %q", token)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "keep", "tokens", "*")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// slowly is an API server that answers late, as is known of it.
type slowly struct{ away }

func (s *slowly) Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error {
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return s.away.Create(ctx, k, obj, into)
	}
}

func (*slowly) Patience(time.Duration) time.Duration { return 10 * time.Second }

// A token is renewed in good time: a server that takes 5 seconds must not be taken for one that is away until it is over.
func TestKeep_ASlowServersTokenGoesBeforeTheOneOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep, err := kube.OpenKeep(t.TempDir(), slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		server := &slowly{away{token: "t1"}}
		o := kube.NewObjects(server, func(types.UID) {}, keep, nil)
		for _, token := range []string{"t1", "t2"} {
			server.token = token
			r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{UID: "u1"}}}
			if got, err := o.Token(t.Context(), "ns", "default", r); err != nil || got.Status.Token != token {
				t.Errorf("got %q, %v; want %s", got.Status.Token, err, token)
			}
		}
	})
}

func TestKeep_AGarbledFileIsNoAnswer(t *testing.T) {
	dir := t.TempDir()
	keep, err := kube.OpenKeep(dir, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "secrets", "ns", "s.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(`{"da`), 0o600)); err != nil {
		t.Fatal(err)
	}
	o := kube.NewObjects(&away{err: errors.New("connection refused")}, func(types.UID) {}, keep, nil)
	if s, err := objects.Get[v1.Secret](t.Context(), o, "ns", "s"); err == nil {
		t.Errorf("Secret() = %v, want the server's error", s)
	}
	if _, err := objects.Get[v1.Secret](t.Context(), o, "../..", "s"); err == nil {
		t.Error("a namespace that leaves its directory was taken")
	}
	o.Prune()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("what no pod names is still there: %v", err)
	}
}
