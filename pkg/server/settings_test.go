package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNode_RefusesWhatDebuggingHandlersServeWhenTheyAreOff(t *testing.T) {
	n := newNode()
	n.set(runningPod("p"))
	for path, want := range map[string]int{
		"/containerLogs/default/p/c": 405, "/exec/default/p/c": 405, "/attach/default/p/c": 405, "/portForward/default/p": 405,
		"/run/default/p/c": 405, "/runningpods/": 405, "/logs/": 405, "/checkpoint/default/p/c": 405, "/debug/pprof/": 405, "/pods": 200, "/healthz": 200,
	} {
		w := httptest.NewRecorder()
		NodeConfig{}.mux(n.source()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
}

func TestNode_TellsOfItselfWhereElseToLook(t *testing.T) {
	cfg := NodeConfig{Debugging: &Debugging{Flags: func() map[string]string { return map[string]string{"v": "2"} }}}
	for path, want := range map[string]string{
		"/statusz": "\nPaths: /attach /checkpoint /configz /containerLogs /debug /exec /flagz /healthz /logs /metrics /pods /portForward /run /runningpods\n",
		"/flagz":   "\nv: 2\n",
	} {
		w := httptest.NewRecorder()
		cfg.mux(newNode().source()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", path, w.Code, w.Body, want)
		}
	}
}

func TestNode_SpeaksTLSAsItIsTold(t *testing.T) {
	c := NodeConfig{MinVersion: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}.tls()
	if d := cmp.Diff([]any{uint16(tls.VersionTLS13), []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, []any{c.MinVersion, c.CipherSuites}); d != "" {
		t.Error(d)
	}
	if c := (NodeConfig{}).tls(); c.MinVersion != tls.VersionTLS12 {
		t.Errorf("without a setting: version %x", c.MinVersion)
	}
}

func TestCachedTokens_ReviewsATokenOnceAndKeepsNoErrors(t *testing.T) {
	asked := map[string]int{}
	review := CachedTokens(func(_ context.Context, token string) (User, bool, error) {
		asked[token]++
		if token == "down" {
			return User{}, false, errors.New("no answer")
		}
		return User{Name: token}, token == "good", nil
	}, time.Minute)
	for range 2 {
		for _, token := range []string{"good", "bad", "down"} {
			u, ok, err := review(t.Context(), token)
			if ok != (token == "good") || (err != nil) != (token == "down") || err == nil && u.Name != token {
				t.Errorf("%s: %v %v %v", token, u, ok, err)
			}
		}
	}
	if d := cmp.Diff(map[string]int{"good": 1, "bad": 1, "down": 2}, asked); d != "" {
		t.Error(d)
	}
}
