package activity

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The requests that are told apart; others are "other".
var (
	paths = []string{
		"healthz", "pods", "configz", "statusz", "flagz", "metrics", "stats", "containerLogs", "exec", "attach", "portForward", "run", "runningpods",
		"checkpoint", "logs", "debug", "metrics/cadvisor", "metrics/resource", "metrics/probes",
	}
	methods     = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace}
	longRunning = []string{"exec", "attach", "portForward", "debug"}
)

// Requests counts the requests of a handler: kubelet_http_*. It is called once.
func (c *Counters) Requests(next http.Handler) (http.Handler, error) {
	labels := []string{"method", "path", "server_type", "long_running"}
	total := counter("kubelet_http_requests_total", "Number of the http requests received since the server started", labels...)
	took := histogram("kubelet_http_requests_duration_seconds", "Duration in seconds to serve http requests", nil, labels...)
	now := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubelet_http_inflight_requests", Help: "Number of the inflight http requests"}, labels)
	for _, m := range []prometheus.Collector{total, took, now} {
		if err := c.all.Register(m); err != nil {
			return nil, err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of := kindOfRequest(r)
		total.WithLabelValues(of...).Inc()
		now.WithLabelValues(of...).Inc()
		defer now.WithLabelValues(of...).Dec()
		began := time.Now()
		defer func() { took.WithLabelValues(of...).Observe(time.Since(began).Seconds()) }()
		next.ServeHTTP(w, r)
	}), nil
}

// kindOfRequest is the values of the labels. Who is not let in may ask for anything: what is not known is one kind.
func kindOfRequest(r *http.Request) []string {
	method, path := r.Method, r.URL.Path
	path, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if path == "metrics" && rest != "" {
		rest, _, _ = strings.Cut(rest, "/")
		path += "/" + rest
	}
	if !slices.Contains(paths, path) {
		path = "other"
	}
	if !slices.Contains(methods, method) {
		method = "other"
	}
	return []string{method, path, "readwrite", strconv.FormatBool(slices.Contains(longRunning, path))}
}
