package probes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/minikubelet/minikubelet/pkg/probes/handler"
)

// httpProbe is the checker of an httpGet probe at a port.
func httpProbe(get v1.HTTPGetAction, ip string, port int) checker {
	get.Port = intstr.FromInt(port)
	probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: &get}, TimeoutSeconds: 10}
	return means{http: newTransport()}.checker(probe, &v1.Container{Name: "c"}, "id", ip)
}

// finds checks twice, as a checker is used again and again.
func finds(t *testing.T, c checker, want outcome, text string) {
	t.Helper()
	for range 2 {
		got, said := c.Check(t.Context())
		if got != want {
			t.Errorf("outcome %d, want %d", got, want)
		}
		if diff := cmp.Diff(text, said); diff != "" {
			t.Errorf("text (-want +got):\n%s", diff)
		}
	}
}

func headers(pairs ...string) (out []v1.HTTPHeader) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, v1.HTTPHeader{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

// What a kubelet sends, in bytes.
func TestHTTP_PathsAreURLs(t *testing.T) {
	p := listen(t, &peer{answer: good}, "127.0.0.1:0", nil)
	for path, asked := range map[string]string{
		"": "/", "/": "/", "healthz": "/healthz", "/healthz": "/healthz", "a/b": "/a/b", "./a": "/./a", "/a/../b": "/a/../b",
		"/a?x=1&y=%20z": "/a?x=1&y=%20z", "?x=1": "/?x=1", "a?x": "/a?x", "/a?": "/a?", "/a#part": "/a", "/a?q=#part": "/a?q=",
		"/a%2Fb": "/a%2Fb", "/%41": "/%41", "/a b": "/a%20b", "/é": "/%C3%A9", `/a\b`: "/a%5Cb", "/;p": "/;p", "*": "/*", "/[x]": "/[x]",
		"//other/x": "/x", "http://other:1/x": "/x", // the host is the probe's
		"/a%zz": "/a%25zz", "%zz": "/%25zz", ":a": "/:a", "1:2": "/1:2", "/a\x7f": "/a%7F", "/x\ny": "/x%0Ay", // no URLs
	} {
		got, text := httpProbe(v1.HTTPGetAction{Path: path}, "127.0.0.1", p.port).Check(t.Context())
		want := []string{"GET " + asked + " HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n"}
		if diff := cmp.Diff(want, p.take()); diff != "" || got != passed {
			t.Errorf("path %q: outcome %d, %s (-want +got):\n%s", path, got, text, diff)
		}
	}
	finds(t, httpProbe(v1.HTTPGetAction{Path: "mailto:a"}, "127.0.0.1", p.port), failed, `Get "http:a": http: no Host in request URL`)
}

func TestHTTP_SendsHeadersAsTheyAreGivenAndDefaults(t *testing.T) {
	p := listen(t, &peer{answer: good}, "127.0.0.1:0", nil)
	const host, agent, accept, end = "Host: 127.0.0.1:PORT\r\n", "User-Agent: kube-probe/1.36\r\n", "Accept: */*\r\n", "Connection: close\r\n\r\n"
	for _, tt := range []struct {
		headers []v1.HTTPHeader
		want    string
	}{
		{nil, host + agent + accept + end},
		{headers("Host", "example.com"), "Host: example.com\r\n" + agent + accept + end},
		{headers("host", "example.com"), "Host: example.com\r\n" + agent + accept + end},
		{headers("Host", "a", "Host", "b"), "Host: a\r\n" + agent + accept + end},
		{headers("Host", ""), host + agent + accept + end},
		{headers("user-agent", "me"), host + "User-Agent: me\r\n" + accept + end},
		{headers("User-Agent", "a", "User-Agent", "b"), host + "User-Agent: a\r\n" + accept + end},
		{headers("User-Agent", ""), host + accept + end},
		{headers("Accept", "text/html"), host + agent + "Accept: text/html\r\n" + end},
		{headers("accept", ""), host + agent + end},
		{headers("Accept", "", "Accept", "x"), host + agent + end},
		{headers("X-A", "1", "x-a", " 2 ", "X-B", ""), host + agent + accept + "X-A: 1\r\nX-A: 2\r\nX-B: \r\n" + end},
		{headers("x-lower-case", "é"), host + agent + accept + "X-Lower-Case: é\r\n" + end},
		{headers("Authorization", "Bearer x"), host + agent + accept + "Authorization: Bearer x\r\n" + end},
		{headers("Accept-Encoding", "gzip"), host + agent + accept + "Accept-Encoding: gzip\r\n" + end},
		{headers("Connection", "keep-alive"), host + agent + accept + "Connection: keep-alive\r\n" + end},
		{headers("Content-Length", "5", "Transfer-Encoding", "chunked", "Trailer", "x"), host + agent + accept + end},
	} {
		got, text := httpProbe(v1.HTTPGetAction{Path: "/h", HTTPHeaders: tt.headers}, "127.0.0.1", p.port).Check(t.Context())
		if diff := cmp.Diff([]string{"GET /h HTTP/1.1\r\n" + tt.want}, p.take()); diff != "" || got != passed {
			t.Errorf("headers %v: outcome %d, %s (-want +got):\n%s", tt.headers, got, text, diff)
		}
	}
	for name, why := range map[string]string{"X A": `invalid header field name "X A"`, "X-A": `invalid header field value for "X-A"`} {
		finds(t, httpProbe(v1.HTTPGetAction{HTTPHeaders: headers(name, "a\r\nb")}, "127.0.0.1", p.port), failed,
			fmt.Sprintf("Get \"http://127.0.0.1:%d\": net/http: %s", p.port, why))
	}
}

func TestHTTP_GoesToTheHostThatIsNamedElseToThePod(t *testing.T) {
	p, six := listen(t, &peer{answer: good}, "127.0.0.1:0", nil), listen(t, &peer{answer: good}, "[::1]:0", nil)
	finds(t, httpProbe(v1.HTTPGetAction{}, "::1", six.port), passed, "ok")
	if got := six.take()[0]; !strings.Contains(got, "\r\nHost: [::1]:PORT\r\n") {
		t.Errorf("over IPv6 it sends %q", got)
	}
	finds(t, httpProbe(v1.HTTPGetAction{Host: "127.0.0.1"}, "192.0.2.1", p.port), passed, "ok")
	finds(t, httpProbe(v1.HTTPGetAction{Host: "[::1]"}, "127.0.0.1", 80), errored, `parse "http://[[::1]]:80": invalid IP-literal`)
	finds(t, httpProbe(v1.HTTPGetAction{Host: "bad host"}, "127.0.0.1", 80), errored, `parse "http://bad%20host:80": invalid URL escape "%20"`)
	finds(t, httpProbe(v1.HTTPGetAction{Scheme: "FTP"}, "127.0.0.1", 80), failed, `Get "ftp://127.0.0.1:80": unsupported protocol scheme "ftp"`)
	finds(t, httpProbe(v1.HTTPGetAction{}, "127.0.0.1", 70000), errored, "invalid port number: 70000")
}

func TestHTTP_JudgesByTheStatus(t *testing.T) {
	const redirects = "Probe terminated redirects, Response body: "
	for _, tt := range []struct {
		code int
		want outcome
		text string
	}{
		{200, passed, "body"}, {204, passed, ""}, {299, passed, "body"}, {300, warned, redirects + "body"}, {302, warned, redirects + "body"},
		{304, warned, redirects}, {399, warned, redirects + "body"}, {400, failed, "HTTP probe failed with statuscode: 400"},
		{404, failed, "HTTP probe failed with statuscode: 404"}, {503, failed, "HTTP probe failed with statuscode: 503"},
		{999, failed, "HTTP probe failed with statuscode: 999"},
	} {
		p := listen(t, &peer{answer: fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\nbody", tt.code)}, "127.0.0.1:0", nil)
		finds(t, httpProbe(v1.HTTPGetAction{}, "127.0.0.1", p.port), tt.want, tt.text)
	}
}

func TestHTTP_ReadsWhatServersAnswer(t *testing.T) {
	full := strings.Repeat("a", maxOutput)
	for name, tt := range map[string]struct {
		answer string
		hold   bool
		want   outcome
		text   string
	}{
		"HTTP/1.0":                    {"HTTP/1.0 200 OK\r\n\r\nbody", false, passed, "body"},
		"kept open":                   {good, true, passed, "ok"},
		"after early hints":           {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + good, false, passed, "ok"},
		"compressed unasked":          {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", false, passed, "abc"},
		"as much as is read":          {"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n" + full, false, passed, full},
		"more, and it breaks off":     {"HTTP/1.1 200 OK\r\nContent-Length: 20480\r\n\r\n" + full + "b", false, passed, full},
		"more, and it does not end":   {"HTTP/1.1 200 OK\r\n\r\n" + full + "b", true, passed, full},
		"broken off":                  {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false, unread, "unexpected EOF"},
		"a failure that breaks off":   {"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\nabc", false, unread, "unexpected EOF"},
		"broken off in a chunk":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", false, unread, "unexpected EOF"},
		"no chunks":                   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, unread, "invalid byte in chunk length"},
		"another protocol, and holds": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", true, failed, "HTTP probe failed with statuscode: 101"},
		"nothing":                     {"", false, failed, `Get "http://127.0.0.1:PORT": EOF`},
		"no HTTP":                     {"SSH-2.0-x\r\n", false, failed, `Get "http://127.0.0.1:PORT": net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-x"`},
		"endless headers": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader), true, failed,
			`Get "http://127.0.0.1:PORT": net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 1048576 bytes; aborted`},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, &peer{answer: tt.answer, hold: tt.hold}, "127.0.0.1:0", nil)
			finds(t, httpProbe(v1.HTTPGetAction{}, "127.0.0.1", p.port), tt.want, strings.ReplaceAll(tt.text, "PORT", strconv.Itoa(p.port)))
		})
	}
}

func TestHTTP_FollowsRedirectsWithinTheHost(t *testing.T) {
	for to, want := range map[string]struct {
		outcome  outcome
		text     string
		requests int
		second   string // its first two lines
	}{
		"/target":                      {passed, "ok", 2, "GET /target HTTP/1.1\r\nHost: example.com\r\n"},
		"target?x#y":                   {passed, "ok", 2, "GET /target?x HTTP/1.1\r\nHost: example.com\r\n"},
		"http://127.0.0.1:PORT/target": {passed, "ok", 2, "GET /target HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"},
		"http://127.0.0.2:PORT/target": {warned, "Probe terminated redirects, Response body: rrr", 1, ""},
		"https://elsewhere.invalid/":   {warned, "Probe terminated redirects, Response body: rrr", 1, ""},
		"/r":                           {failed, `Get "/r": stopped after 10 redirects`, 10, "GET /r HTTP/1.1\r\nHost: example.com\r\n"},
		"http://127.0.0.1:1/target":    {failed, `Get "http://127.0.0.1:1/target": dial tcp 127.0.0.1:1: connect: connection refused`, 1, ""},
		"ftp://127.0.0.1/":             {failed, `Get "ftp://127.0.0.1/": unsupported protocol scheme "ftp"`, 1, ""},
		"://no":                        {failed, `Get "http://127.0.0.1:PORT/r": failed to parse Location header "://no": parse "://no": missing protocol scheme`, 1, ""},
		"":                             {warned, "Probe terminated redirects, Response body: rrr", 1, ""},
	} {
		t.Run(to, func(t *testing.T) {
			p := listen(t, &peer{answer: "HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 3\r\n\r\nrrr"}, "127.0.0.1:0", nil)
			c := httpProbe(v1.HTTPGetAction{Path: "/r", HTTPHeaders: headers("Host", "example.com")}, "127.0.0.1", p.port)
			got, text := c.Check(t.Context())
			if wanted := strings.ReplaceAll(want.text, "PORT", strconv.Itoa(p.port)); got != want.outcome || text != wanted {
				t.Errorf("outcome %d %q, want %d %q", got, text, want.outcome, wanted)
			}
			requests := p.take()
			if len(requests) != want.requests || len(requests) > 1 && !strings.HasPrefix(requests[1], want.second) {
				t.Errorf("the server was asked %q", requests)
			}
		})
	}
}

func TestHTTP_SaysWhatDidNotComeInTime(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // connections are made, and nobody takes them
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	silent := listen(t, &peer{hold: true}, "127.0.0.1:0", nil)
	slow := listen(t, &peer{answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", hold: true}, "127.0.0.1:0", nil)
	for _, tt := range []struct {
		name   string
		scheme v1.URIScheme
		port   int
		want   outcome
		text   string
	}{
		{"an answer", "HTTP", silent.port, failed, `Get "http://127.0.0.1:PORT/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`},
		{"anything", "HTTP", deaf.Addr().(*net.TCPAddr).Port, failed, `Get "http://127.0.0.1:PORT/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`},
		{"the end of an answer", "HTTP", slow.port, unread, "context deadline exceeded (Client.Timeout or context cancellation while reading body)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := handler.NewRequest(&v1.HTTPGetAction{Path: "/", Port: intstr.FromInt(tt.port), Scheme: tt.scheme}, &v1.Container{}, "127.0.0.1", userAgent)
			if err != nil {
				t.Fatal(err)
			}
			finds(t, newHTTPCheck(r, newTransport(), 100*time.Millisecond), tt.want, strings.ReplaceAll(tt.text, "PORT", strconv.Itoa(tt.port)))
		})
	}
}

func TestHTTPS_AHandshakeThatDoesNotEndFails(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	port := deaf.Addr().(*net.TCPAddr).Port
	r, err := handler.NewRequest(&v1.HTTPGetAction{Port: intstr.FromInt(port), Scheme: "HTTPS"}, &v1.Container{}, "127.0.0.1", userAgent)
	if err != nil {
		t.Fatal(err)
	}
	got, text := newHTTPCheck(r, newTransport(), 100*time.Millisecond).Check(t.Context())
	// Whether the client's clock or the handshake's context was first decides if more follows.
	if want := fmt.Sprintf(`Get "https://127.0.0.1:%d": context deadline exceeded`, port); got != failed || !strings.HasPrefix(text, want) {
		t.Errorf("outcome %d %q, want %q", got, text, want)
	}
}

func TestHTTP_CancelEndsACheckAtOnce(t *testing.T) {
	p := listen(t, &peer{hold: true}, "127.0.0.1:0", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if got, _ := httpProbe(v1.HTTPGetAction{}, "127.0.0.1", p.port).Check(ctx); got != failed || time.Since(begun) > 5*time.Second {
		t.Errorf("outcome %d after %v", got, time.Since(begun))
	}
}

func TestHTTPS_TakesAnyCertificateAndTLSSince12(t *testing.T) {
	old := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	for name, tt := range map[string]struct {
		conf *tls.Config // nil: no TLS
		want outcome
		text string
	}{
		"TLS 1.3":               {&tls.Config{MinVersion: tls.VersionTLS13}, passed, "ok"},
		"TLS 1.2":               {&tls.Config{MaxVersion: tls.VersionTLS12}, passed, "ok"},
		"TLS 1.1":               {old, failed, `Get "https://127.0.0.1:PORT": remote error: tls: protocol version not supported`},
		"a client's is wanted":  {&tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, failed, `Get "https://127.0.0.1:PORT": remote error: tls: handshake failure`},
		"HTTP/1.1 by agreement": {&tls.Config{NextProtos: []string{"http/1.1"}}, passed, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, &peer{answer: good}, "127.0.0.1:0", tt.conf)
			finds(t, httpProbe(v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS}, "127.0.0.1", p.port), tt.want, strings.ReplaceAll(tt.text, "PORT", strconv.Itoa(p.port)))
		})
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	port := plain.Listener.Addr().(*net.TCPAddr).Port
	finds(t, httpProbe(v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS}, "127.0.0.1", port), failed,
		fmt.Sprintf("Get \"https://127.0.0.1:%d\": http: server gave HTTP response to HTTPS client", port))
}

// A server may speak nothing but HTTP/2. Several probes may ask it at once.
func TestHTTPS_SpeaksHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %v", r.Proto, r.Host, r.RequestURI, r.Header)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP2(true)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{NextProtos: []string{"h2"}}
	s.StartTLS()
	defer s.Close()
	get := v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS, Path: "/two?x=1", HTTPHeaders: headers("Host", "example.com", "X-A", "1")}
	c := httpProbe(get, "127.0.0.1", s.Listener.Addr().(*net.TCPAddr).Port)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			finds(t, c, passed, "HTTP/2.0 example.com /two?x=1 map[Accept:[*/*] User-Agent:[kube-probe/1.36] X-A:[1]]")
		})
	}
	all.Wait()
}

// A connection that is kept would hide a server that accepts none any more.
func TestHTTP_EachCheckHasAConnectionOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	made := map[net.Conn]bool{}
	for _, start := range []func(*httptest.Server){(*httptest.Server).Start, (*httptest.Server).StartTLS} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.EnableHTTP2 = true
		s.Config.ConnState = func(c net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			if made[c] = made[c] || state == http.StateActive; state == http.StateNew {
				made[c] = false
			}
		}
		start(s)
		get := v1.HTTPGetAction{Scheme: v1.URIScheme(strings.ToUpper(s.URL[:strings.Index(s.URL, ":")]))}
		finds(t, httpProbe(get, "127.0.0.1", s.Listener.Addr().(*net.TCPAddr).Port), passed, "")
		s.Close()
	}
	if len(made) != 4 {
		t.Errorf("four checks made %d connections", len(made))
	}
}

func TestHTTP_UsesNoProxyOfTheAgent(t *testing.T) {
	if newTransport().Proxy != nil {
		t.Error("a proxy may be asked")
	}
}

func BenchmarkHTTP(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer srv.Close()
	c := httpProbe(v1.HTTPGetAction{Path: "/"}, "127.0.0.1", srv.Listener.Addr().(*net.TCPAddr).Port)
	b.ReportAllocs()
	for b.Loop() {
		if got, text := c.Check(b.Context()); got != passed {
			b.Fatal(text)
		}
	}
}
