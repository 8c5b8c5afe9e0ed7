// Package zpages answers /statusz and /flagz of the HTTPS API: what a component is, and how it was started (KEP-4827, KEP-4828).
// The pages are text for a person, or an object for those who ask for it with the Accept header
// application/json;as=Statusz;v=v1beta1;g=config.k8s.io. k8s.io/apiserver has them too, with 83 packages that the agent
// does without. Who may read them is decided before.
package zpages

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/yaml"
)

// Pages are what the two pages tell.
type Pages struct {
	Version version.Info
	Started time.Time
	Paths   []string                 // where else to look
	Flags   func() map[string]string // with nothing secret in them; nil: none
}

const (
	group     = "config.k8s.io"
	component = "kubelet" // whoever does its job
	note      = "This page is for people, and its form may change. Programs ask for the object of " + group + "/v1beta1.\n\n"
)

// statusz is an object of that kind.
type statusz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	StartTime         metav1.Time `json:"startTime"`
	UptimeSeconds     int64       `json:"uptimeSeconds"`
	GoVersion         string      `json:"goVersion,omitempty"`
	BinaryVersion     string      `json:"binaryVersion"`
	EmulationVersion  string      `json:"emulationVersion,omitempty"`
	Paths             []string    `json:"paths"`
}

// flagz is an object of that kind.
type flagz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	Flags             map[string]string `json:"flags,omitempty"`
}

// Statusz answers /statusz.
func (p Pages) Statusz(w http.ResponseWriter, r *http.Request) {
	up := max(0, time.Since(p.Started))
	s := statusz{
		ObjectMeta: metav1.ObjectMeta{Name: component}, StartTime: metav1.NewTime(p.Started), UptimeSeconds: int64(up.Seconds()),
		GoVersion: p.Version.GoVersion, BinaryVersion: strings.TrimPrefix(p.Version.GitVersion, "v"), Paths: p.Paths,
	}
	if p.Version.Minor != "" {
		s.EmulationVersion = p.Version.Major + "." + p.Version.Minor
	}
	answer(w, r, "Statusz", func(t metav1.TypeMeta) any { s.TypeMeta = t; return s }, func(w io.Writer) {
		fmt.Fprintf(w, "Started: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\nEmulation version: %s\nPaths: %s\n",
			p.Started.Format(time.UnixDate), s.UptimeSeconds/3600, s.UptimeSeconds/60%60, s.UptimeSeconds%60,
			s.GoVersion, s.BinaryVersion, s.EmulationVersion, strings.Join(s.Paths, " "))
	})
}

// Flagz answers /flagz.
func (p Pages) Flagz(w http.ResponseWriter, r *http.Request) {
	f := flagz{ObjectMeta: metav1.ObjectMeta{Name: component}}
	if p.Flags != nil {
		f.Flags = p.Flags()
	}
	answer(w, r, "Flagz", func(t metav1.TypeMeta) any { f.TypeMeta = t; return f }, func(w io.Writer) {
		for _, name := range slices.Sorted(maps.Keys(f.Flags)) {
			fmt.Fprintf(w, "%s: %s\n", name, f.Flags[name])
		}
	})
}

// answer gives a page in the form that the request accepts.
func answer(w http.ResponseWriter, r *http.Request, kind string, object func(metav1.TypeMeta) any, text func(io.Writer)) {
	form, v := formOf(strings.Join(r.Header.Values("Accept"), ","), kind)
	switch form {
	case "":
		http.Error(w, fmt.Sprintf("this page is text/plain, or application/json or application/yaml with as=%s;v=v1beta1;g=%s", kind, group), http.StatusNotAcceptable)
		return
	case "plain":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "\n%s %s\n%s", component, strings.ToLower(kind), note)
		text(w)
		return
	}
	if v == "v1alpha1" {
		w.Header().Set("Warning", fmt.Sprintf(`299 - "%s/v1alpha1 is deprecated: ask for v1beta1"`, group))
	}
	encode := json.Marshal
	if form == "yaml" {
		encode = func(v any) ([]byte, error) { return yaml.Marshal(v) }
	}
	b, err := encode(object(metav1.TypeMeta{Kind: kind, APIVersion: group + "/" + v}))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/"+form)
	_, _ = w.Write(b) // the peer may be gone: there is nobody to tell
}

// formOf is the first form of an Accept header that there is: plain, or json or yaml with the version of the object.
// It is empty when there is none.
func formOf(accept, kind string) (form, version string) {
	for _, a := range goautoneg.ParseAccept(cmp.Or(strings.TrimSpace(accept), "*/*")) {
		as, v := a.Params["as"], a.Params["v"]
		switch is := a.Type + "/" + a.SubType; {
		case a.Q == 0:
		case as == "" && (is == "*/*" || is == "text/*" || is == "text/plain"):
			return "plain", ""
		case as != kind || a.Params["g"] != group || v != "v1beta1" && v != "v1alpha1":
		case is == "application/yaml":
			return "yaml", v
		case is == "application/json" || is == "application/*" || is == "*/*":
			return "json", v
		}
	}
	return "", ""
}
