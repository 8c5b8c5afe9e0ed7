package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNode_DebugsContainers(t *testing.T) {
	n := newNode()
	n.set(runningPod("p"))
	mux := NodeConfig{Debugging: &Debugging{Profiling: true}}.mux(n.source())
	for _, q := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"POST", "/run/default/p/c?cmd=echo+a+b", 200, "abc:echo|a|b"},
		{"POST", "/run/default/p/p-uid/c?cmd=echo", 200, "abc:echo"},
		{"POST", "/run/default/p/other/c?cmd=echo", 404, "pod does not exist"},
		{"POST", "/run/default/p/c?cmd=false", 500, "command 'false' exited with 1"},
		{"POST", "/run/default/p/c", 400, "specify a command"},
		{"POST", "/run/default/p/down?cmd=echo", 404, "container down is not running"},
		{"GET", "/run/default/p/c?cmd=echo", 405, ""},
		{"GET", "/runningpods/", 200, `"items":[]`},
		{"GET", "/runningpods", 200, `"kind":"PodList"`},
		{"POST", "/checkpoint/default/p/c", 200, `{"items":["/c/p-c-abc"]}`},
		{"POST", "/checkpoint/default/p/c?timeout=7", 500, "checkpointing of default/p/c failed (no criu)"},
		{"POST", "/checkpoint/default/p/c?timeout=soon", 404, "cannot parse value of timeout parameter"},
		{"POST", "/checkpoint/default/p/none", 404, "not found in pod"},
		{"POST", "/checkpoint/default/none/c", 404, "pod does not exist"},
		{"GET", "/checkpoint/default/p/c", 405, ""},
		{"GET", "/logs/", 405, "logs endpoint is disabled"},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(q.method, q.path, nil))
		if w.Code != q.code || !strings.Contains(w.Body.String(), q.want) {
			t.Errorf("%s %s: %d %.300s, want %d with %s", q.method, q.path, w.Code, w.Body, q.code, q.want)
		}
	}
}

func TestSystemLogs_ShowsFilesBeneathItsDirectoryAlone(t *testing.T) {
	dir := t.TempDir()
	logs := filepath.Join(dir, "log")
	for name, text := range map[string]string{"secret": "hidden", "log/syslog": "0123456789", "log/a&b/x.log": "<script>"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": "../secret", "in": "syslog", "far": "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(logs, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(logs, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	mux := NodeConfig{Debugging: &Debugging{SystemLogs: logs}}.mux(newNode().source())
	for path, want := range map[string]string{
		"/logs/syslog": "200 text/plain; charset=utf-8 0123456789", "/logs/in": "200 text/plain; charset=utf-8 0123456789",
		"/logs": `<a href="logs/syslog">syslog</a>`, "/logs/": `<a href="a&b">a&amp;b</a>`, "/logs/a&b/": `<a href="x.log">x.log</a>`,
		"/logs/a&b/x.log": "200 text/plain; charset=utf-8 <script>", "/logs/out": "404 ", "/logs/far": "404 ", "/logs/pipe": "it is not a file",
		"/logs/..%2fsecret": "404 ", "/logs/none": "no such file", "/logs/syslog/x": "404 ", "/debug/pprof/": "405 ",
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		got := strings.Join([]string{w.Result().Status[:3], w.Header().Get("Content-Type"), w.Body.String()}, " ")
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/logs/syslog", nil)
	r.Header.Set("Range", "bytes=-3")
	if mux.ServeHTTP(w, r); w.Code != 206 || w.Body.String() != "789" {
		t.Errorf("the end of a log: %d %s", w.Code, w.Body)
	}
}
