package act

import (
	"bufio"
	"context"
	"fmt"
	"io"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hears is a server of one connection: it answers with bytes, and tells what it was sent when that has ended.
func hears(t *testing.T, answer string, hold bool) (port int, heard <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	port = l.Addr().(*net.TCPAddr).Port
	ch := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r, head := bufio.NewReader(c), ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		_, _ = io.WriteString(c, answer)
		if hold {
			_, _ = io.Copy(io.Discard, r)
		}
		ch <- strings.ReplaceAll(head, strconv.Itoa(port), "PORT")
	}()
	return port, ch
}

// hookAt runs an httpGet hook at a port of this machine, and returns its events.
func hookAt(ctx context.Context, port int, get v1.HTTPGetAction) (events []string, err error) {
	get.Port = intstr.FromInt(port)
	e := New(Config{Event: func(p *v1.Pod, container, typ, reason, message string) {
		events = append(events, strings.Join([]string{p.Name, container, typ, reason, message}, "|"))
	}})
	c := hooked{pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, spec: &v1.Container{Name: "c"}, ip: "127.0.0.1"}
	err = e.hook(ctx, &v1.LifecycleHandler{HTTPGet: &get}, c)
	return events, err
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// What a kubelet sends, in bytes.
func TestHook_HTTPGetSendsWhatAKubeletSends(t *testing.T) {
	header := func(pairs ...string) (out []v1.HTTPHeader) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, v1.HTTPHeader{Name: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	const host, agent, accept, end = "Host: 127.0.0.1:PORT\r\n", "User-Agent: kube-lifecycle/1.36\r\n", "Accept: */*\r\n", "Accept-Encoding: gzip\r\n\r\n"
	for _, tt := range []struct {
		get  v1.HTTPGetAction
		want string
	}{
		{v1.HTTPGetAction{}, "/ HTTP/1.1\r\n" + host + agent + accept + end},
		{v1.HTTPGetAction{Path: "bye?x=1#y"}, "/bye?x=1 HTTP/1.1\r\n" + host + agent + accept + end},
		{v1.HTTPGetAction{Path: "/a%zz"}, "/a%25zz HTTP/1.1\r\n" + host + agent + accept + end},
		{v1.HTTPGetAction{HTTPHeaders: header("User-Agent", "me")}, "/ HTTP/1.1\r\n" + host + "User-Agent: me\r\n" + accept + end},
		{v1.HTTPGetAction{HTTPHeaders: header("user-agent", "", "accept", "")}, "/ HTTP/1.1\r\n" + host + end},
		{v1.HTTPGetAction{HTTPHeaders: header("host", "a", "Host", "b")}, "/ HTTP/1.1\r\nHost: a\r\n" + agent + accept + end},
		{v1.HTTPGetAction{HTTPHeaders: header("x-a", "1", "X-A", "2")}, "/ HTTP/1.1\r\n" + host + agent + accept + "X-A: 1\r\nX-A: 2\r\n" + end},
	} {
		port, heard := hears(t, fine, false)
		if _, err := hookAt(t.Context(), port, tt.get); err != nil {
			t.Errorf("%+v: %v", tt.get, err)
			continue
		}
		if diff := cmp.Diff("GET "+tt.want, <-heard); diff != "" {
			t.Errorf("%+v: (-want +got):\n%s", tt.get, diff)
		}
	}
}

func TestHook_AnyAnswerIsASuccess(t *testing.T) {
	for name, answer := range map[string]string{
		"200": fine, "404": "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "503": "HTTP/1.1 503 X\r\n\r\n", "302": "HTTP/1.1 302 Found\r\n\r\n",
		"broken off": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "no chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz",
	} {
		port, _ := hears(t, answer, false)
		if _, err := hookAt(t.Context(), port, v1.HTTPGetAction{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, answer := range map[string]string{"nothing": "", "no HTTP": "SSH-2.0-x\r\n"} {
		port, _ := hears(t, answer, false)
		if _, err := hookAt(t.Context(), port, v1.HTTPGetAction{}); err == nil {
			t.Errorf("%s is a success", name)
		}
	}
}

// A server may answer while it drains: the hook lasts until the answer ends, its time is over or enough was read.
func TestHook_WaitsForTheEndOfAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		patience     time.Duration
		overruns     bool
	}{
		{"one that has not ended", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", 100 * time.Millisecond, true},
		{"one without an end", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxHookBody), time.Minute, false},
		{"a long one", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", maxHookBody+1), time.Minute, false},
		{"another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", time.Minute, false},
	} {
		port, _ := hears(t, tt.answer, true)
		ctx, cancel := context.WithTimeout(t.Context(), tt.patience)
		if _, err := hookAt(ctx, port, v1.HTTPGetAction{}); err != nil || (ctx.Err() != nil) != tt.overruns {
			t.Errorf("%s: the hook ended with %v, its context with %v", tt.name, err, ctx.Err())
		}
		cancel()
	}
}

func TestHook_HTTPGetEndsWithTheGracePeriod(t *testing.T) {
	port, _ := hears(t, "", true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := hookAt(ctx, port, v1.HTTPGetAction{}); err == nil || !strings.Contains(err.Error(), "context deadline exceeded") {
		t.Errorf("a hook without an answer ended with %v", err)
	}
}

func TestHook_HTTPGetNeedsAPortAndAnAddress(t *testing.T) {
	get := v1.HTTPGetAction{Port: intstr.FromString("none")}
	for text, c := range map[string]hooked{
		`no port named "none"`:   {spec: &v1.Container{Name: "c"}, ip: "127.0.0.1"},
		"the pod has no address": {spec: &v1.Container{Name: "c"}},
	} {
		err := New(Config{}).httpHook(t.Context(), &get, c)
		if want := strings.Replace(text, "no port", "a port", 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
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
		_, err := hookAt(t.Context(), s.Listener.Addr().(*net.TCPAddr).Port, v1.HTTPGetAction{Path: tt.path})
		if visits != tt.visits || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d visits, %v", tt.path, visits, err)
		}
	}
}

func TestHook_HTTPGetSpeaksTLSAndPlainHTTPToWhoCannot(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s TLS=%t %s %q", r.Proto, r.TLS != nil, r.Header.Get("X-A"), r.Header.Get("Authorization")))
	})
	get := v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS, HTTPHeaders: []v1.HTTPHeader{{Name: "X-A", Value: "a"}, {Name: "Authorization", Value: "secret"}}}
	two := httptest.NewUnstartedServer(h)
	two.EnableHTTP2 = true
	two.StartTLS()
	plain := httptest.NewServer(h)
	defer plain.Close()
	defer two.Close()
	port := plain.Listener.Addr().(*net.TCPAddr).Port
	first, err := hookAt(t.Context(), two.Listener.Addr().(*net.TCPAddr).Port, get)
	if err != nil || len(first) != 0 {
		t.Errorf("over TLS: %v, events %q", err, first)
	}
	second, err := hookAt(t.Context(), port, get)
	want := fmt.Sprintf("p||Warning|LifecycleHTTPFallback|request to HTTPS lifecycle hook 127.0.0.1:%d got HTTP response, retry with HTTP succeeded", port)
	if err != nil || len(second) != 1 || second[0] != want {
		t.Errorf("without TLS: %v, events %q, want %q", err, second, want)
	}
	if diff := cmp.Diff([]string{`HTTP/1.1 TLS=true a "secret"`, `HTTP/1.1 TLS=false a ""`}, seen); diff != "" {
		t.Errorf("the servers saw (-want +got):\n%s", diff)
	}
}

func TestHook_AFallbackThatFailsTellsOfTheFirstTry(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // answers TLS in the clear, and nobody after that
		c, err := l.Accept()
		_ = l.Close()
		if err == nil {
			_, _ = c.Read(make([]byte, 16<<10))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_ = c.Close()
		}
	}()
	events, err := hookAt(t.Context(), l.Addr().(*net.TCPAddr).Port, v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS})
	if err == nil || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") || len(events) != 0 {
		t.Errorf("%v, events %q", err, events)
	}
}
