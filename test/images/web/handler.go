package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// health holds the verdicts that the probe paths answer with.
type health struct {
	mu      sync.Mutex
	ok      map[string]bool
	delay   time.Duration // before every answer of a probe path
	started time.Time
	after   time.Duration
	grpc    *grpchealth.Server
}

func newHealth(o options) *health {
	return &health{
		ok:      map[string]bool{"healthz": true, "readyz": !o.unready, "startupz": true},
		started: time.Now(),
		after:   o.startupAfter,
		grpc:    grpchealth.NewServer(),
	}
}

func (h *health) get(path string) (ok bool, delay time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if path == "startupz" && time.Since(h.started) < h.after {
		return false, h.delay
	}
	return h.ok[path], h.delay
}

func (h *health) set(path string, ok bool, delay time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ok[path], h.delay = ok, delay
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if ok {
		status = healthpb.HealthCheckResponse_SERVING
	}
	service := path
	if path == "healthz" {
		service = "" // the server as a whole
	}
	h.grpc.SetServingStatus(service, status)
}

// handler serves the identity of the pod, the probe paths, and the switches that tests use:
//
//	GET  /                          who answers: name, host name, addresses
//	GET  /healthz /readyz /startupz 200 or 503
//	POST /set/healthz?ok=false&delay=2s
//	POST /exit?code=3
//	GET  /env?name=X, /file?path=P, /headers, /wait?for=1s, /redirect?to=URL, /much?bytes=N
func handler(o options, h *health, exits chan<- int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s\n", whoami(o)) })
	for _, p := range []string{"healthz", "readyz", "startupz"} {
		mux.HandleFunc("GET /"+p, func(w http.ResponseWriter, r *http.Request) { answerProbe(w, r, h, p) })
	}
	mux.HandleFunc("POST /set/{path}", func(w http.ResponseWriter, r *http.Request) {
		delay, _ := time.ParseDuration(r.FormValue("delay"))
		h.set(r.PathValue("path"), r.FormValue("ok") != "false", delay)
	})
	mux.HandleFunc("POST /exit", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case exits <- code:
		default: // it is exiting already
		}
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, os.Getenv(r.FormValue("name"))) })
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, r.FormValue("path")) })
	mux.HandleFunc("GET /redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.FormValue("to"), http.StatusFound)
	})
	mux.HandleFunc("GET /much", much)
	mux.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) { _ = r.Header.Write(w) })
	mux.HandleFunc("GET /wait", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("for"))
		pause(r.Context(), d)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s from %s (%s)", r.Method, r.URL.RequestURI(), r.RemoteAddr, r.UserAgent())
		mux.ServeHTTP(w, r)
	})
}

func answerProbe(w http.ResponseWriter, r *http.Request, h *health, path string) {
	ok, delay := h.get(path)
	pause(r.Context(), delay)
	if !ok {
		http.Error(w, path+" is switched off", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func serveGRPC(ctx context.Context, o options, h *health) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.grpcAddr)
	if err != nil {
		return err
	}
	var opts []grpc.ServerOption
	if o.print {
		opts = append(opts, grpc.UnaryInterceptor(printGRPC))
	}
	s := grpc.NewServer(opts...)
	healthpb.RegisterHealthServer(s, h.grpc)
	return s.Serve(l)
}

func whoami(o options) string {
	host, _ := os.Hostname()
	name := o.name
	if name == "" {
		name = host
	}
	ips := ""
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			ips += " " + n.IP.String()
		}
	}
	return name + " on " + host + ips
}
