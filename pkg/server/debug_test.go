package server

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/minikubelet/minikubelet/pkg/server/limit"
)

func TestNode_DebugsContainers(t *testing.T) {
	n := newNode()
	n.set(runningPod("p"))
	verbosity := -1
	mux := limit.Body(NodeConfig{Debugging: &Debugging{Profiling: true, Verbosity: func(v int) { verbosity = v }}}.mux(n.source()))
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
		{"PUT", "/debug/flags/v 4", 200, "successfully set klog.logging.verbosity to 4"},
		{"PUT", "/debug/flags/v loud", 400, `"loud" is no verbosity`},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
	} {
		w := httptest.NewRecorder()
		path, body, _ := strings.Cut(q.path, " ")
		mux.ServeHTTP(w, httptest.NewRequest(q.method, path, strings.NewReader(body)))
		if w.Code != q.code || !strings.Contains(w.Body.String(), q.want) {
			t.Errorf("%s %s: %d %.300s, want %d with %s", q.method, q.path, w.Code, w.Body, q.code, q.want)
		}
	}
	if verbosity != 4 {
		t.Errorf("the verbosity is %d, want 4", verbosity)
	}
}
