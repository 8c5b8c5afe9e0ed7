package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// node is what a server tells in these tests.
type node struct {
	mu      sync.Mutex
	pods    []*v1.Pod
	changed chan struct{}
	sick    error
	asked   []string // exec URLs asked for
	stream  string   // where sessions are streamed
}

func (n *node) set(pods ...*v1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods = pods
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *node) source() Source {
	return Source{
		Pods:    func() []*v1.Pod { n.mu.Lock(); defer n.mu.Unlock(); return n.pods },
		Changed: func() <-chan struct{} { n.mu.Lock(); defer n.mu.Unlock(); return n.changed },
		Health:  func() error { return n.sick },
		Node:    func() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}} },
		Version: "v1.36.3",
		Events: func() []v1.Event {
			return []v1.Event{{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}, InvolvedObject: v1.ObjectReference{Namespace: "default"}, Reason: "Started"}}
		},
		Logs: func(_ context.Context, w io.Writer, p *v1.Pod, container string, o *v1.PodLogOptions) error {
			if o.Previous {
				return errors.New("previous terminated container not found")
			}
			_, err := io.WriteString(w, p.Name+"/"+container+"\n")
			return err
		},
		Runtime: n.runtime(),
	}
}

func (n *node) runtime() Runtime {
	return Runtime{
		Exec: func(_ context.Context, id string, cmd []string, _ Streams) (string, error) {
			n.asked = append(n.asked, id+" "+strings.Join(cmd, " "))
			return n.stream, nil
		},
		Run: func(_ context.Context, id string, cmd []string) ([]byte, error) {
			if cmd[0] == "false" {
				return nil, errors.New("command 'false' exited with 1: ")
			}
			return []byte(id + ":" + strings.Join(cmd, "|")), nil
		},
		Running: func(context.Context) ([]v1.Pod, error) { return nil, nil },
		Checkpoint: func(_ context.Context, p *v1.Pod, container, id string, seconds int64) (string, error) {
			if seconds == 7 {
				return "", errors.New("no criu")
			}
			return "/c/" + p.Name + "-" + container + "-" + id, nil
		},
	}
}

func newNode() *node { return &node{changed: make(chan struct{})} }

func runningPod(name string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name + "-uid"), Labels: map[string]string{"app": name}},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c"}, {Name: "down"}}},
		Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{
			{Name: "c", ContainerID: "containerd://abc", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
			{Name: "down", ContainerID: "containerd://def", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}},
		}},
	}
}

// serveLocal runs the local server and returns a client for it.
func serveLocal(t *testing.T, n *node) *http.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s", "api.sock")
	l, err := ListenLocal(path, n.source())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v (%v), want 0600", i.Mode(), err)
	}
	if _, err := ListenLocal(path, n.source()); err == nil || !strings.Contains(err.Error(), "another agent answers on it: stop it, or give localAPI.socket another path") {
		t.Errorf("a second server on the socket: %v", err)
	}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestLocal_SpeaksKubernetesJSON(t *testing.T) {
	n := newNode()
	n.set(runningPod("web"))
	c := serveLocal(t, n)
	for _, q := range []struct {
		path string
		code int
		want string
	}{
		{"/healthz", 200, "ok"},
		{"/api/v1/pods", 200, `"kind":"PodList"`},
		{"/api/v1/namespaces/other/pods", 200, `"items":[]`},
		{"/api/v1/namespaces/default/pods/web", 200, `"kind":"Pod"`},
		{"/api/v1/namespaces/default/pods/none", 404, "pod does not exist"},
		{"/api/v1/namespaces/default/pods/web/log", 200, "web/c"},
		{"/api/v1/namespaces/default/pods/web/log?container=down", 200, "web/down"},
		{"/api/v1/namespaces/default/pods/web/log?container=none", 404, "not found in pod"},
		{"/api/v1/namespaces/default/pods/web/log?previous=true", 400, "previous terminated"},
		{"/api/v1/namespaces/default/pods/web/log?tailLines=x", 400, "tailLines"},
		{"/api/v1/events", 200, `"reason":"Started"`},
		{"/api/v1/namespaces/other/events", 200, `"items":[]`},
		{"/api/v1/nodes", 200, `"name":"n1"`},
		{"/exec/default/web/c", 404, "there is no /exec/default/web/c here"},
		{"/readyz", 200, "ok"},
		{"/version", 200, `"gitVersion":"v1.36.3"`},
		{"/configz", 404, "does not tell"},
		{"/api", 200, `"versions":["v1"]`},
		{"/apis", 200, `"APIGroupList"`},
		{"/api/v1", 200, `"pods/exec"`},
		{"/api/v1/nodes/n1", 200, `"kind":"Node"`},
		{"/api/v1/nodes/n2", 404, `"reason":"NotFound"`},
		{"/api/v1/pods?labelSelector=app%3Dweb", 200, `"items":[{`},
		{"/api/v1/pods?labelSelector=app%21%3Dweb", 200, `"items":[]`},
		{"/api/v1/pods?labelSelector=%3D%3D", 400, "labelSelector"},
		{"/api/v1/pods?fieldSelector=metadata.name%3Dweb", 200, `"items":[{`},
		{"/api/v1/pods?fieldSelector=metadata.name%3Dother", 200, `"items":[]`},
		{"/api/v1/pods?fieldSelector=spec.colour%3Dred", 400, "spec.colour is not known here"},
		{"/api/v1/events?fieldSelector=involvedObject.name%3Dother", 200, `"items":[]`},
		{"/api/v1/namespaces/default/pods/none/log", 404, `"kind":"Status"`},
		{"/api/v1/namespaces/default/pods/web/exec?command=x&stdout=true&container=down", 404, "container down is not running"},
		{"/api/v1/namespaces/default/pods/web/exec?command=x&stdout=true&container=none", 404, "not found in pod"},
		{"/api/v1/namespaces/default/pods/web/exec?command=x", 400, "at least 1 of"},
		{"/api/v1/namespaces/default/pods/web/exec?stdout=true", 400, "specify a command"},
	} {
		code, body := get(t, c, "http://x"+q.path)
		if code != q.code || !strings.Contains(body, q.want) {
			t.Errorf("GET %s: %d %s, want %d with %s", q.path, code, body, q.code, q.want)
		}
	}
	n.sick = errors.New("no progress")
	if code, body := get(t, c, "http://x/healthz"); code != 500 || !strings.Contains(body, "no progress") {
		t.Errorf("healthz of a sick agent: %d %s", code, body)
	}
}

func TestLocal_AnswersRootAndItsOwnUserAlone(t *testing.T) {
	for fit, want := range map[bool]int{true: 200, false: 403} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		w := httptest.NewRecorder()
		served := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		peersOnly(served).ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, fit)))
		if w.Code != want {
			t.Errorf("a peer that may use it (%t): %d, want %d", fit, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	peersOnly(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 403 || !strings.Contains(w.Body.String(), "run this as root") {
		t.Errorf("a peer that is not known: %d %s", w.Code, w.Body)
	}
}

func TestLocal_ChecksProposals(t *testing.T) {
	n := newNode()
	src := n.source()
	src.Check = func(_ context.Context, p Proposal) []Lack {
		return []Lack{{Pod: len(p.Pods) - 1, Field: "spec.volumes[0]", Text: "no " + p.ConfigMaps[0].Name}}
	}
	for body, want := range map[string]string{
		`{"pods":[{}],"configMaps":[{"metadata":{"name":"b"}}]}`: `[{"pod":0,"field":"spec.volumes[0]","text":"no b"}]`,
		`{"pods":`: "cannot read what to check",
	} {
		w := httptest.NewRecorder()
		localMux(src).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/minikubelet/v1/check", strings.NewReader(body)))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", body, w.Code, w.Body, want)
		}
	}
}

func TestLocal_GivesTablesToWhomPrintsThem(t *testing.T) {
	n := newNode()
	n.set(runningPod("web"))
	for accept, want := range map[string]string{
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json": `"cells":["web","0/2","",0,"-","probes of c",""]`,
		"application/json": `"kind":"PodList"`,
		"":                 `"kind":"PodList"`,
	} {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/pods", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		localMux(n.source()).ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", accept, w.Body, want)
		}
	}
}

func TestLocal_WatchTellsEachChangeOnce(t *testing.T) {
	n := newNode()
	a := runningPod("a")
	n.set(a)
	c := serveLocal(t, n)
	resp, err := c.Get("http://x/api/v1/pods?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var e struct {
			Type   string
			Object v1.Pod
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		return e.Type + " " + e.Object.Name
	}
	got := []string{next()}
	n.set(a, runningPod("b"))
	got = append(got, next())
	n.set(runningPod("a"))
	got = append(got, next(), next())
	if d := cmp.Diff([]string{"ADDED a", "ADDED b", "MODIFIED a", "DELETED b"}, got); d != "" {
		t.Error(d)
	}
}

func TestLogOptions(t *testing.T) {
	for query, want := range map[string]string{
		"": "", "follow=true&tailLines=0&limitBytes=5&sinceSeconds=3&timestamps=1": "", "tailLines=all": "",
		"sinceTime=2026-01-02T03:04:05Z": "", "follow=maybe": "follow", "tailLines=-1": "tailLines", "limitBytes=0": "limitBytes",
		"stream=All": "", "stream=Stderr": "both streams", "stream=all": "none of", "tail=all&tailLines=x": "", "tail=x": "not a number",
		"sinceTime=yesterday": "RFC 3339", "sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z": "at most one",
	} {
		r := httptest.NewRequest(http.MethodGet, "/?"+query, nil)
		_, err := logOptions(r.URL.Query())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", query, err, want)
		}
	}
}

func TestAuth_AttributesFollowThePath(t *testing.T) {
	for path, want := range map[string][]string{
		"/pods": {"pods", "proxy"}, "/pods/": {"pods", "proxy"}, "/podsx": {"proxy"}, "/runningpods/": {"pods", "proxy"},
		"/exec/a/b/c": {"proxy"}, "/run/a/b/c": {"proxy"}, "/containerLogs/a/b/c": {"proxy"}, "/debug/pprof/": {"proxy"}, "/": {"proxy"},
		"/metrics": {"metrics"}, "/metrics/cadvisor": {"metrics"}, "/stats/summary": {"stats"}, "/logs/": {"log"}, "/logs/x/y": {"log"},
		"/healthz": {"healthz", "proxy"}, "/configz": {"configz", "proxy"}, "/flagz": {"configz"}, "/statusz": {"statusz"},
		"/checkpoint/a/b/c": {"checkpoint"},
	} {
		var got []string
		for _, a := range attributes(User{}, httptest.NewRequest(http.MethodGet, path, nil)) {
			got = append(got, a.Subresource)
			if a.Verb != "get" {
				t.Errorf("%s: GET is %s", path, a.Verb)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	if got := attributes(User{}, httptest.NewRequest(http.MethodPost, "/exec/a/b/c", nil)); got[0].Verb != "create" {
		t.Errorf("POST is %s, want create", got[0].Verb)
	}
}

// Any one of the subresources of a path is enough: nodes/proxy has long given what the finer ones give now.
func TestAuth_TakesTheFinerOrTheCoarserRight(t *testing.T) {
	for right, want := range map[string]map[string]int{
		"pods":  {"/pods": 200, "/runningpods/": 200, "/healthz": 403, "/metrics": 403},
		"proxy": {"/pods": 200, "/healthz": 200, "/configz": 200, "/metrics": 403, "/logs/": 403, "/stats/summary": 403},
	} {
		a := Auth{Anonymous: true, Allow: func(_ context.Context, at Attributes) (bool, string, error) { return at.Subresource == right, "", nil }}
		for path, code := range want {
			w := httptest.NewRecorder()
			a.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != code {
				t.Errorf("nodes/%s, GET %s: %d %s, want %d", right, path, w.Code, w.Body, code)
			}
		}
	}
}

func TestCached_AsksOncePerQuestionAndKeepsNoErrors(t *testing.T) {
	asked := 0
	var fail error
	allow := Cached(func(_ context.Context, a Attributes) (bool, string, error) {
		asked++
		return a.User.Name == "good", "", fail
	}, time.Hour, time.Hour)
	ask := func(user string) bool {
		ok, _, _ := allow(t.Context(), Attributes{User: User{Name: user}})
		return ok
	}
	fail = errors.New("away")
	ask("good")
	fail = nil
	got := []bool{ask("good"), ask("good"), ask("bad"), ask("bad")}
	if !slices.Equal(got, []bool{true, true, false, false}) || asked != 3 {
		t.Errorf("answers %v, asked %d times, want 3: the failure, and once for each user", got, asked)
	}
}

// issue makes a certificate, signed by the parent or by itself.
func issue(t *testing.T, name string, groups []string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer, by := any(key), c
	if parent != nil {
		signer, by = parent.PrivateKey, parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestNode_AuthenticatesAndAuthorizesBeforeItAnswers(t *testing.T) {
	ca, other := issue(t, "ca", nil, nil), issue(t, "other", nil, nil)
	serving := issue(t, "node", nil, &ca)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	n := newNode()
	n.set(runningPod("web"))
	s, err := ListenNode(NodeConfig{
		Debugging: &Debugging{}, Address: "127.0.0.1:0", ClientCAs: func() (*x509.CertPool, error) { return pool, nil },
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &serving, nil },
		Auth: Auth{
			Token: func(_ context.Context, token string) (User, bool, error) {
				return User{Name: "robot"}, token == "right", nil
			},
			Allow: func(_ context.Context, a Attributes) (bool, string, error) {
				return a.User.Name == "admin" || a.Subresource == "healthz", "rule", nil
			},
		},
	}, n.source())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}()
	ask := func(path, token string, certs ...tls.Certificate) (int, error) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	admin, user := issue(t, "admin", []string{"system:masters"}, &ca), issue(t, "user", nil, &ca)
	for _, q := range []struct {
		what, path, token string
		certs             []tls.Certificate
		want              int
	}{
		{"no credentials", "/pods", "", nil, 401},
		{"a wrong token", "/healthz", "wrong", nil, 401},
		{"a token that may not", "/pods", "right", nil, 403},
		{"a token that may", "/healthz", "right", nil, 200},
		{"a certificate that may", "/pods", "", []tls.Certificate{admin}, 200},
		{"a certificate that may not", "/containerLogs/default/web/c", "", []tls.Certificate{user}, 403},
		{"logs", "/containerLogs/default/web/c", "", []tls.Certificate{admin}, 200},
		{"exec in what does not run", "/exec/default/web/down?command=x&output=1", "", []tls.Certificate{admin}, 404},
		{"exec with no stream", "/exec/default/web/c?command=x", "", []tls.Certificate{admin}, 400},
		{"exec with no command", "/exec/default/web/c?output=1", "", []tls.Certificate{admin}, 400},
		{"exec with another pod's UID", "/exec/default/web/other/c?command=x&output=1", "", []tls.Certificate{admin}, 404},
		{"a port that is none", "/portForward/default/web?port=99999", "", []tls.Certificate{admin}, 400},
		{"an unknown path", "/nothing", "", []tls.Certificate{admin}, 404},
	} {
		if code, err := ask(q.path, q.token, q.certs...); err != nil || code != q.want {
			t.Errorf("%s: %d, %v, want %d", q.what, code, err, q.want)
		}
	}
	if code, err := ask("/pods", "", issue(t, "admin", nil, &other)); err == nil && code != 401 {
		t.Errorf("a certificate of another CA got %d, want 401 or a failed handshake", code)
	}
}
