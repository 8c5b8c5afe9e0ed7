package activity

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientmetrics "k8s.io/client-go/tools/metrics"
)

// CountRequests counts the requests to API servers from now on: rest_client_*. It is called once in a program: the hooks of
// client-go are the program's.
func (c *Counters) CountRequests() error {
	times := []float64{.005, .025, .1, .25, .5, 1, 2, 4, 8, 15, 30, 60}
	sizes := []float64{64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216}
	results := results{counter("rest_client_requests_total", "Number of HTTP requests, partitioned by status code, method, and host.", "code", "method", "host")}
	latency := latencies{histogram("rest_client_request_duration_seconds", "Request latency in seconds. Broken down by verb, and host.", times, "verb", "host")}
	waiting := latencies{histogram("rest_client_rate_limiter_duration_seconds", "Client side rate limiter latency in seconds. Broken down by verb, and host.", times, "verb", "host")}
	sent := bytes{histogram("rest_client_request_size_bytes", "Request size in bytes. Broken down by verb and host.", sizes, "verb", "host")}
	received := bytes{histogram("rest_client_response_size_bytes", "Response size in bytes. Broken down by verb and host.", sizes, "verb", "host")}
	clientmetrics.Register(clientmetrics.RegisterOpts{
		RequestResult: results, RequestLatency: latency, RateLimiterLatency: waiting, RequestSize: sent, ResponseSize: received,
	})
	var errs []error
	for _, m := range []prometheus.Collector{results, latency, waiting, sent, received} {
		errs = append(errs, c.all.Register(m))
	}
	return errors.Join(errs...)
}

type results struct{ *prometheus.CounterVec }

func (r results) Increment(_ context.Context, code, method, host string) {
	r.WithLabelValues(code, method, host).Inc()
}

type latencies struct{ *prometheus.HistogramVec }

func (l latencies) Observe(_ context.Context, verb string, u url.URL, took time.Duration) {
	l.WithLabelValues(verb, u.Host).Observe(took.Seconds())
}

type bytes struct{ *prometheus.HistogramVec }

func (b bytes) Observe(_ context.Context, verb, host string, size float64) {
	b.WithLabelValues(verb, host).Observe(size)
}
