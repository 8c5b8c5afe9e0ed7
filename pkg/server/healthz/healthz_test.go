package healthz

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHealthz_TellsOfEachCheckAndCountsIt(t *testing.T) {
	var sick error
	c := New(func() error { return sick })
	mux := http.NewServeMux()
	c.Serve(mux.HandleFunc)
	mux.HandleFunc("GET /metrics/slis", c.SLIs)
	ask := func(method, path string) string {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return http.StatusText(w.Code) + ": " + w.Body.String()
	}
	got := []string{
		ask("GET", "/healthz"), ask("POST", "/healthz/syncloop"), ask("GET", "/healthz/none"),
		ask("GET", "/healthz?verbose&exclude=ping"),
	}
	sick = errors.New("no progress")
	got = append(got, ask("GET", "/healthz"), ask("GET", "/healthz/syncloop"), ask("GET", "/healthz/ping"), ask("GET", "/healthz?exclude=syncloop"))
	want := []string{
		"OK: ok", "OK: ok", "Not Found: 404 page not found\n",
		"OK: [+]ping excluded: ok\n[+]log ok\n[+]syncloop ok\n[+]device-plugin ok\nhealthz check passed\n",
		"Internal Server Error: [+]ping ok\n[+]log ok\n[-]syncloop failed: no progress\n[+]device-plugin ok\nhealthz check failed\n",
		"Internal Server Error: internal server error: no progress", "OK: ok", "OK: ok",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, line := range []string{
		`kubernetes_healthcheck{name="syncloop",type="healthz"} 0`, `kubernetes_healthcheck{name="ping",type="healthz"} 1`,
		`kubernetes_healthchecks_total{name="syncloop",status="error",type="healthz"} 2`,
		`kubernetes_healthchecks_total{name="syncloop",status="success",type="healthz"} 3`,
	} {
		if slis := ask("GET", "/metrics/slis"); !strings.Contains(slis, line+"\n") {
			t.Errorf("%s has no %s", slis, line)
		}
	}
}
