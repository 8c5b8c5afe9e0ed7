package act

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestHook_HTTPGet(t *testing.T) {
	var got *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		if r.URL.Path == "/bad" {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number := intstr.Parse(port)
	c := &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: number.IntVal}}}
	get := &v1.HTTPGetAction{Path: "/ok?x=1", Port: intstr.FromString("web"), HTTPHeaders: []v1.HTTPHeader{{Name: "Host", Value: "example"}, {Name: "X-A", Value: "b"}}}
	if err := httpHook(t.Context(), get, c, host); err != nil {
		t.Fatal(err)
	}
	if got.Host != "example" || got.Header.Get("X-A") != "b" || got.URL.RawQuery != "x=1" {
		t.Errorf("the hook asked for %s %s with %v", got.Host, got.URL, got.Header)
	}
	get.Path = "/bad"
	if err := httpHook(t.Context(), get, c, host); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "not now") {
		t.Errorf("a refusal gave %v", err)
	}
	get.Port = intstr.FromString("none")
	if err := httpHook(t.Context(), get, c, host); err == nil || !strings.Contains(err.Error(), `no port named "none"`) {
		t.Errorf("a port that is not there gave %v", err)
	}
}

func TestHook_TCPSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &v1.LifecycleHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(l.Addr().(*net.TCPAddr).Port)}}
	e := New(Config{})
	if err := e.hook(t.Context(), h, &v1.Container{}, "id", "127.0.0.1"); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.hook(t.Context(), h, &v1.Container{}, "id", "127.0.0.1"); err == nil {
		t.Error("a closed port was no failure")
	}
}

func TestHook_SleepEndsWithTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 30}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := New(Config{}).hook(ctx, h, &v1.Container{}, "id", ""); err == nil {
			t.Error("a sleep that was cut short was no failure")
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("it slept %v, want 5s", d)
		}
	})
}

func TestHook_ASleepOfCenturiesIsNotOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 10000000000}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := New(Config{}).hook(ctx, h, &v1.Container{}, "id", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v before its grace period did", err)
		}
	})
}

func TestHook_HTTPGetFollowsRedirectsWithinItsHostAlone(t *testing.T) {
	visits := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch visits++; r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/there", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		}
	}))
	defer s.Close()
	host, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for _, tt := range []struct {
		path   string
		visits int
		err    string
	}{
		{"/here", 2, ""},
		{"/away", 1, ""},
		{"/round", 10, "stopped after 10 redirects"},
	} {
		visits = 0
		err := httpHook(t.Context(), &v1.HTTPGetAction{Path: tt.path, Port: intstr.Parse(port)}, &v1.Container{}, host)
		if visits != tt.visits || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d visits, %v", tt.path, visits, err)
		}
	}
}

func TestHook_HTTPGetSpeaksTLSAndPlainHTTPToWhoCannot(t *testing.T) {
	var schemes []string
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		schemes = append(schemes, scheme)
	})
	for _, s := range []*httptest.Server{httptest.NewTLSServer(h), httptest.NewServer(h)} {
		host, port, _ := net.SplitHostPort(s.Listener.Addr().String())
		if err := httpHook(t.Context(), &v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS, Port: intstr.Parse(port)}, &v1.Container{}, host); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	if strings.Join(schemes, " ") != "https http" {
		t.Errorf("the servers saw %v", schemes)
	}
}
