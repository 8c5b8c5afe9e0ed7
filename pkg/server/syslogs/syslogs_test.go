package syslogs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHandler_ShowsFilesBeneathItsDirectoryAlone(t *testing.T) {
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
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", Handler(logs, true))
	mux.HandleFunc("GET /logs/{path...}", Handler(logs, true))
	for path, want := range map[string]string{
		"/logs/syslog": "200 text/plain; charset=utf-8 0123456789", "/logs/in": "200 text/plain; charset=utf-8 0123456789",
		"/logs": `<a href="logs/syslog">syslog</a>`, "/logs/": `<a href="a&b">a&amp;b</a>`, "/logs/a&b/": `<a href="x.log">x.log</a>`,
		"/logs/a&b/x.log": "200 text/plain; charset=utf-8 <script>", "/logs/out": "404 ", "/logs/far": "404 ", "/logs/pipe": "it is not a file",
		"/logs/?query=/syslog": "200 text/plain; charset=utf-8 0123456789", "/logs/?query=/../secret": "404 ", "/logs/?query=": "400 ",
		"/logs/?query=sys": "log not found for sys", "/logs/?query=syslog": "0123456789", "/logs?query=syslog&tailLines=1": "without options",
		"/logs/in?query=": "0123456789", "/logs/..%2fsecret": "404 ", "/logs/none": "no such file", "/logs/syslog/x": "404 ",
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

func TestParse_TakesWhatIsMeantForJournalctlAlone(t *testing.T) {
	for asked, want := range map[string]string{
		"query=kubelet&query=containerd":                                               "[kubelet containerd] []",
		"query=k&sinceTime=2026-01-02T03:04:05%2B01:00&untilTime=2026-01-03T00:00:00Z": "[k] [--since=2026-01-02 02:04:05 UTC --until=2026-01-03 00:00:00 UTC]",
		"query=k&tailLines=5&boot=-1&pattern=a.*b":                                     "[k] [--lines=5 --boot=-1 --grep=a.*b]",
		"query=a&query=b&query=c&query=d&query=e":                                      "at most 4 services",
		"query=a%20--root":            "no name of a service",
		"query=%20":                   "may not be empty",
		"query=/a&query=b":            "one file can be asked for",
		"query=/a&tailLines=1":        "one file can be asked for",
		"query=a&sinceTime=yesterday": "no RFC 3339 time",
		"query=a&tailLines=-1":        "no number from 0 to 100000",
		"query=a&boot=1":              "no number from",
		"query=a&pattern=(":           "missing closing )",
	} {
		v, err := url.ParseQuery(asked)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parse(v)
		got := fmt.Sprint(q.services, q.options)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", asked, got, want)
		}
	}
}
