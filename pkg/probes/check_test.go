package probes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func portOfURL(t *testing.T, raw string) int {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func httpServer(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
		fmt.Fprint(w, "secret body")
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s|%s|%s", r.Host, r.UserAgent(), r.Header["Accept"], r.Header["X-A"], r.URL.RawQuery)
	})
	mux.HandleFunc("/hops/{n}", func(w http.ResponseWriter, r *http.Request) {
		if n, _ := strconv.Atoi(r.PathValue("n")); n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/hops/%d", n-1), http.StatusFound)
			return
		}
		fmt.Fprint(w, "arrived")
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "late")
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", 3*maxOutput)))
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

func TestHTTP(t *testing.T) {
	plain := httptest.NewServer(httpServer(t))
	defer plain.Close()
	secure := httptest.NewTLSServer(httpServer(t))
	defer secure.Close()

	header := func(pairs ...string) (out []v1.HTTPHeader) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, v1.HTTPHeader{Name: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	plainHost := strings.TrimPrefix(plain.URL, "http://")
	for _, tc := range []struct {
		path   string
		https  bool
		header []v1.HTTPHeader
		want   outcome
		text   string
	}{
		{path: "/status/200", want: passed, text: "secret body"},
		{path: "/status/399", want: warned, text: "Probe terminated redirects, Response body: secret body"},
		{path: "/status/400", want: failed, text: "HTTP probe failed with statuscode: 400"},
		{path: "/status/503", want: failed, text: "HTTP probe failed with statuscode: 503"},
		{path: "/status/200", https: true, want: passed, text: "secret body"},
		{path: "/headers?a=b", want: passed, text: plainHost + "|kube-probe/1.36|[*/*]|[]|a=b"},
		{path: "/headers", header: header("Host", "example.com", "User-Agent", "me", "Accept", "", "X-A", "1", "x-a", "2"), want: passed, text: "example.com|me|[]|[1 2]|"},
		{path: "/hops/9", want: passed, text: "arrived"},
		{path: "/hops/11", want: failed, text: `Get "/hops/1": stopped after 10 redirects`},
		{path: "/away", want: warned, text: "Probe terminated redirects, Response body: <a href=\"http://elsewhere.invalid/\">Found</a>.\n\n"},
		{path: "/early", want: passed, text: "late"},
		{path: "/big", want: passed, text: strings.Repeat("x", maxOutput)},
		{path: "/hang", want: failed, text: fmt.Sprintf("Get %q: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", plain.URL+"/hang")},
		{path: "/hang", https: true, want: failed, text: fmt.Sprintf("Get %q: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", secure.URL+"/hang")},
	} {
		t.Run(fmt.Sprintf("%s https=%v", tc.path, tc.https), func(t *testing.T) {
			get := &v1.HTTPGetAction{Path: tc.path, HTTPHeaders: tc.header}
			port := portOfURL(t, plain.URL)
			if tc.https {
				get.Scheme, port = v1.URISchemeHTTPS, portOfURL(t, secure.URL)
			}
			timeout := 10 * time.Second
			if tc.path == "/hang" {
				timeout = 50 * time.Millisecond
			}
			c, err := newHTTPCheck(get, "127.0.0.1", port, timeout)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // a checker is used again and again
				got, text := c.Check(t.Context())
				if got != tc.want {
					t.Errorf("outcome %d, want %d", got, tc.want)
				}
				if diff := cmp.Diff(tc.text, text); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestHTTP_CancelEndsACheckAtOnce(t *testing.T) {
	srv := httptest.NewServer(httpServer(t))
	defer srv.Close()
	c, err := newHTTPCheck(&v1.HTTPGetAction{Path: "/hang"}, "127.0.0.1", portOfURL(t, srv.URL), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got, _ := c.Check(ctx); got != failed {
		t.Errorf("outcome %d", got)
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if got, text := newTCPCheck("127.0.0.1", port, time.Second).Check(t.Context()); got != passed {
		t.Errorf("outcome %d, %s", got, text)
	}
	_ = l.Close()
	got, text := newTCPCheck("127.0.0.1", port, time.Second).Check(t.Context())
	if want := fmt.Sprintf("dial tcp 127.0.0.1:%d: connect: connection refused", port); got != failed || text != want {
		t.Errorf("outcome %d, %q, want %q", got, text, want)
	}
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	hs := health.NewServer()
	hs.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(srv, hs)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	bare := httptest.NewServer(http.NotFoundHandler())
	defer bare.Close()
	port := l.Addr().(*net.TCPAddr).Port

	for service, want := range map[string]struct {
		outcome outcome
		text    string
	}{
		"":        {passed, "service healthy"},
		"down":    {failed, `service unhealthy (responded with "NOT_SERVING")`},
		"unknown": {failed, "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"},
	} {
		got, text := newGRPCCheck("127.0.0.1", port, service, 10*time.Second).Check(t.Context())
		if got != want.outcome || text != want.text {
			t.Errorf("service %q: outcome %d %q, want %v", service, got, text, want)
		}
	}
	srv.Stop()
	<-done
	if got, text := newGRPCCheck("127.0.0.1", port, "", 10*time.Second).Check(t.Context()); got != failed || !strings.Contains(text, "failed to connect service") {
		t.Errorf("without a server: %d %q", got, text)
	}
}

func TestExec(t *testing.T) {
	for _, tc := range []struct {
		name string
		out  string
		code int
		err  error
		want outcome
		text string
	}{
		{"zero passes", "fine", 0, nil, passed, "fine"},
		{"any other code fails", "bad", 3, nil, failed, "bad"},
		{"timeout fails", "", 0, fmt.Errorf("exec: %w", context.DeadlineExceeded), failed, `command timed out: "cat /value $(NONE)" timed out after 2s`},
		{"error says nothing", "", 0, fmt.Errorf("no runtime"), errored, "no runtime"},
		{"output is bounded", strings.Repeat("y", 20<<10), 1, nil, failed, strings.Repeat("y", 10<<10)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"cat", "/$(NAME)", "$(NONE)"}}}, TimeoutSeconds: 2}
			c := &v1.Container{Env: []v1.EnvVar{{Name: "NAME", Value: "value"}, {Name: "NONE", ValueFrom: &v1.EnvVarSource{}}}}
			check := newChecker(probe, c, "id", "", func(_ context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int, error) {
				if diff := cmp.Diff([]string{"id", "cat", "/value", "$(NONE)", "2s"}, append([]string{id}, append(cmd, timeout.String())...)); diff != "" {
					t.Error(diff)
				}
				return []byte(tc.out), tc.code, tc.err
			})
			got, text := check.Check(t.Context())
			if got != tc.want || text != tc.text {
				t.Errorf("%d %q, want %d %q", got, text, tc.want, tc.text)
			}
		})
	}
}

func TestPortOf(t *testing.T) {
	c := &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for _, tc := range []struct {
		port intstr.IntOrString
		want int
		err  string
	}{
		{intstr.FromInt32(80), 80, ""},
		{intstr.FromString("web"), 8080, ""},
		{intstr.FromString("81"), 81, ""},
		{intstr.FromString("none"), 0, `cannot find a port named "none" in container "c": name one of its ports so`},
		{intstr.FromInt32(70000), 0, "invalid port number: 70000"},
		{intstr.FromInt32(0), 0, "invalid port number: 0"},
	} {
		got, err := portOf(tc.port, c)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("portOf(%s) = %d, %v, want %d, %s", tc.port.String(), got, err, tc.want, tc.err)
		}
	}
}

func TestNewChecker_WhatCannotBeProbedIsTold(t *testing.T) {
	got, text := newChecker(&v1.Probe{}, &v1.Container{Name: "c"}, "", "", nil).Check(t.Context())
	if got != errored || !strings.Contains(text, "missing probe handler") {
		t.Errorf("%d %q", got, text)
	}
}

func BenchmarkHTTP(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	port, _ := strconv.Atoi(u.Port())
	c, err := newHTTPCheck(&v1.HTTPGetAction{Path: "/"}, "127.0.0.1", port, time.Second)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got, text := c.Check(b.Context()); got != passed {
			b.Fatal(text)
		}
	}
}

func BenchmarkHTTPTransport(b *testing.B) { // what oneShot is measured against
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer srv.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: time.Second}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Get(srv.URL)
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}
