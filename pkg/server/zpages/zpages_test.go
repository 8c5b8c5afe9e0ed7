package zpages

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/yaml"
)

func page(path, accept string) *httptest.ResponseRecorder {
	p := Pages{
		Version: version.Info{GitVersion: "v1.36.3", Major: "1", Minor: "36", GoVersion: "go1.26"}, Started: time.Now().Add(-3723 * time.Second),
		Paths: []string{"/configz", "/healthz"}, Flags: func() map[string]string { return map[string]string{"v": "2", "node-ip": ""} },
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	map[string]http.HandlerFunc{"/statusz": p.Statusz, "/flagz": p.Flagz}[path](w, r)
	return w
}

func TestZpages_AreTextForAPerson(t *testing.T) {
	for path, want := range map[string][]string{
		"/statusz": {
			"kubelet statusz\n", "Started: ", "Up: 1 hr 02 min ", "Go version: go1.26\n", "Binary version: 1.36.3\n", "Emulation version: 1.36\n",
			"Paths: /configz /healthz\n",
		},
		"/flagz": {"kubelet flagz\n", "\nnode-ip: \nv: 2\n"},
	} {
		w := page(path, "")
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d, %s", path, w.Code, got)
		}
		for _, words := range want {
			if !strings.Contains(w.Body.String(), words) {
				t.Errorf("%s has no %q:\n%s", path, words, w.Body)
			}
		}
	}
}

func TestZpages_AreObjectsForThoseWhoAsk(t *testing.T) {
	var s statusz
	w := page("/statusz", "application/json;as=Statusz;v=v1beta1;g=config.k8s.io")
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s %s", err, w.Header().Get("Content-Type"), w.Body)
	}
	if s.Kind != "Statusz" || s.APIVersion != "config.k8s.io/v1beta1" || s.Name != "kubelet" || s.BinaryVersion != "1.36.3" ||
		s.EmulationVersion != "1.36" || s.UptimeSeconds < 3723 || s.StartTime.IsZero() || len(s.Paths) == 0 {
		t.Errorf("got %+v", s)
	}
	var f map[string]any
	w = page("/flagz", "application/yaml;as=Flagz;v=v1alpha1;g=config.k8s.io")
	if err := yaml.Unmarshal(w.Body.Bytes(), &f); err != nil || !strings.Contains(w.Header().Get("Warning"), "deprecated") {
		t.Fatalf("%v: warning %q", err, w.Header().Get("Warning"))
	}
	want := map[string]any{
		"kind": "Flagz", "apiVersion": "config.k8s.io/v1alpha1", "metadata": map[string]any{"name": "kubelet"}, "flags": map[string]any{"v": "2", "node-ip": ""},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("flagz (-want +got):\n%s", d)
	}
}

func TestZpages_TakeTheFirstFormThatThereIs(t *testing.T) {
	const object = "application/json;as=Flagz;v=v1beta1;g=config.k8s.io"
	for accept, want := range map[string]string{
		"":                           "text/plain; charset=utf-8",
		"*/*":                        "text/plain; charset=utf-8",
		"text/html, text/*;q=.1":     "text/plain; charset=utf-8",
		object:                       "application/json",
		"text/plain;q=0.5," + object: "application/json",
		"application/json;as=Flagz;v=v7;g=config.k8s.io, */*": "text/plain; charset=utf-8",
		"application/json": "406",
		"application/json;as=Statusz;v=v1beta1;g=config.k8s.io": "406",
		"application/vnd.kubernetes.protobuf":                   "406",
		"text/plain;q=0":                                        "406",
	} {
		w := page("/flagz", accept)
		got := w.Header().Get("Content-Type")
		if w.Code == http.StatusNotAcceptable && strings.Contains(w.Body.String(), "as=Flagz;v=v1beta1;g=config.k8s.io") {
			got = "406"
		}
		if got != want {
			t.Errorf("%q: %s, want %s: %s", accept, got, want, w.Body)
		}
	}
}
