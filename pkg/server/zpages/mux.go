package zpages

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Mux is an http.ServeMux that knows where it leads.
type Mux struct {
	*http.ServeMux
	first map[string]bool
}

// NewMux returns one that leads nowhere yet.
func NewMux() Mux { return Mux{http.NewServeMux(), map[string]bool{}} }

// Paths are the first steps of the patterns until now, sorted: /metrics.
func (m Mux) Paths() []string { return slices.Sorted(maps.Keys(m.first)) }

// Handle is that of http.ServeMux.
func (m Mux) Handle(pattern string, h http.Handler) {
	path := pattern[strings.IndexByte(pattern, '/')+1:]
	path, _, _ = strings.Cut(path, "/")
	m.first["/"+path] = true
	m.ServeMux.Handle(pattern, h)
}

// HandleFunc is that of http.ServeMux.
func (m Mux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(h))
}
