package kube_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// client returns a client of a server with that handler.
func client(t *testing.T, h http.Handler) *kube.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":%q}}],"contexts":[{"name":"c","context":{"cluster":"c"}}]}`, s.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(kube.Config{Kubeconfig: file, UserAgent: "minikubelet/v1.36.3", Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClient_MakesTheRequestsThatTheAPIKnows(t *testing.T) {
	var got []string
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		kind, _, _ := bytes.Cut(body, []byte{0})
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), kind))
		if a := r.Header.Get("Accept"); !strings.HasPrefix(a, "application/vnd.kubernetes.protobuf") || r.UserAgent() != "minikubelet/v1.36.3" {
			t.Errorf("accepts %q as %q", a, r.UserAgent())
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"answer"}}`)
	}))
	ctx, p := t.Context(), &v1.Pod{}
	if err := c.Get(ctx, kube.Key{Resource: kube.Pods, Namespace: "ns", Name: "p"}, p); err != nil || p.Name != "answer" {
		t.Errorf("got %q, %v", p.Name, err)
	}
	for _, err := range []error{
		c.Create(ctx, kube.Key{Resource: kube.Nodes}, &v1.Node{}, nil),
		c.Patch(ctx, kube.Key{Resource: kube.Pods, Namespace: "ns", Name: "p", Sub: "status"}, []byte(`{}`), nil),
		c.Delete(ctx, kube.Key{Resource: kube.Pods, Namespace: "ns", Name: "p"}, metav1.DeleteOptions{}),
		c.Get(ctx, kube.Key{Resource: kube.Leases, Namespace: "kube-node-lease", Name: "n"}, nil),
		c.List(ctx, kube.Key{Resource: kube.Pods}, metav1.ListOptions{FieldSelector: "spec.nodeName=n"}, &v1.Pod{}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"GET /api/v1/namespaces/ns/pods/p  ",
		"POST /api/v1/nodes application/vnd.kubernetes.protobuf k8s",
		"PATCH /api/v1/namespaces/ns/pods/p/status application/strategic-merge-patch+json {}",
		"DELETE /api/v1/namespaces/ns/pods/p application/vnd.kubernetes.protobuf k8s",
		"GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n  ",
		"GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn  ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestClient_RefusesNamesThatLeaveTheirPlace(t *testing.T) {
	c := client(t, http.NotFoundHandler())
	for _, k := range []kube.Key{
		{Resource: kube.Pods, Namespace: "..", Name: "p"},
		{Resource: kube.Pods, Namespace: "ns", Name: "a/../../b"},
		{Resource: kube.Pods, Namespace: "ns", Name: "p", Sub: "st%2fatus"},
	} {
		err := c.Get(t.Context(), k, nil)
		if err == nil || apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestClient_SaysWhenTheServerDoesNotAnswer(t *testing.T) {
	stop := make(chan struct{})
	c := client(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(func() { close(stop) })
	err := c.Get(t.Context(), kube.Key{Resource: kube.Nodes, Name: "n"}, nil)
	if err == nil || !strings.Contains(err.Error(), "no answer from http://") {
		t.Errorf("got %v", err)
	}
}

func TestClient_WaitsLongerForAServerThatIsSlow(t *testing.T) {
	const late = 50 * time.Millisecond
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(late)
		w.WriteHeader(http.StatusNotFound)
	}))
	u, err := c.Unlimited()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Get(t.Context(), kube.Key{Resource: kube.Nodes, Name: "n"}, nil); err == nil {
		t.Error("a Node that is not there")
	}
	if got := c.Patience(time.Millisecond); got < 2*late {
		t.Errorf("it waits %s for a server that took %s", got, late)
	}
	if got := c.Patience(time.Hour); got != time.Hour {
		t.Errorf("it waits %s where an hour is the least", got)
	}
}

func TestClient_TellsAtOnceThatItIsThrottled(t *testing.T) {
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	err := c.Get(t.Context(), kube.Key{Resource: kube.Nodes, Name: "n"}, nil)
	if kind, _ := kube.Explain(err); kind != "throttled" {
		t.Errorf("%s: %v", kind, err)
	}
	_, err = c.Watch(t.Context(), kube.Key{Resource: kube.Nodes}, metav1.ListOptions{})
	if kind, _ := kube.Explain(err); kind != "throttled" {
		t.Errorf("watch: %s: %v", kind, err)
	}
}

func TestNew_NamesTheKubeconfigThatCannotBeRead(t *testing.T) {
	_, err := kube.New(kube.Config{Kubeconfig: "/no/such/file"})
	if err == nil || !strings.Contains(err.Error(), "/no/such/file") || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("got %v", err)
	}
}

func TestOutage_IsSaidOnceThenRarelyAndItsEndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := kube.NewOutage(slog.New(slog.NewTextHandler(&out, nil)), "watch pods")
		woken := 0
		o.Changed = func() { woken++ }
		lines := func() int { return strings.Count(out.String(), "\n") }
		o.OK()
		for range 299 { // 5 minutes less a second
			o.Failed(errors.New("connection refused"))
			time.Sleep(time.Second)
		}
		if lines() != 1 {
			t.Errorf("%d lines in the first 5 minutes:\n%s", lines(), &out)
		}
		time.Sleep(time.Second)
		o.Failed(errors.New("connection refused"))
		o.Failed(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no")))
		if lines() != 3 || !strings.Contains(out.String(), "system:node:") {
			t.Errorf("want a repetition and the other kind with its remedy:\n%s", &out)
		}
		o.OK()
		o.OK()
		if lines() != 4 {
			t.Errorf("want one line for the recovery:\n%s", &out)
		}
		if woken != 3 {
			t.Errorf("woken %d times, want at the beginning, at the other kind and at the end", woken)
		}
	})
}
