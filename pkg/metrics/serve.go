package metrics

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// patience is how long a request may measure.
const patience = 20 * time.Second

// ServeSummary answers /stats/summary; with only_cpu_and_memory=true, no disk is walked.
func (c *Collector) ServeSummary(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	readings, err := c.read(ctx, r.URL.Query().Get("only_cpu_and_memory") != "true")
	if err != nil {
		slog.Warn("a summary lacks what could not be measured", "err", err)
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	if err := e.Encode(summary(readings)); err != nil {
		slog.Debug("cannot send a summary", "err", err)
	}
}

// Resource is the handler of /metrics/resource.
func (c *Collector) Resource() http.Handler {
	d := newResourceDescs()
	return c.handler(func(r readings, failed bool) []series { return d.series(summary(r), failed) })
}

func (c *Collector) handler(make func(r readings, failed bool) []series) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		readings, err := c.read(ctx, false)
		if err != nil {
			slog.Warn("metrics lack what could not be measured", "path", r.URL.Path, "err", err)
		}
		serve(w, r, make(readings, err != nil))
	})
}

// serve answers with series. What is wrong with one of them does not keep back the others.
func serve(w http.ResponseWriter, r *http.Request, all []series) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(once(all)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
}

// once is a collector of series that are made already. It describes nothing, so that their set may change.
type once []series

func (once) Describe(chan<- *prometheus.Desc) {}

func (o once) Collect(out chan<- prometheus.Metric) {
	for _, s := range o {
		out <- s.metric()
	}
}
