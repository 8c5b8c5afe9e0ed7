package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/minikubelet/minikubelet/pkg/server/healthz"
	"github.com/minikubelet/minikubelet/pkg/server/limit"
	"github.com/minikubelet/minikubelet/pkg/server/zpages"
)

// NodeConfig is the HTTPS server's configuration.
type NodeConfig struct {
	Address        string // host:port
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	ClientCAs      func() (*x509.CertPool, error) // asked at each connection; nil: no client certificate is accepted
	Auth           Auth
	MinVersion     uint16                                   // of TLS; 0: 1.2
	CipherSuites   []uint16                                 // of TLS 1.2; none: Go's
	StreamTimeout  time.Duration                            // how long exec, attach and port-forward may be silent both ways; 0: for ever
	Count          func(http.Handler) (http.Handler, error) // counts the requests; nil: nobody does
	Debugging      *Debugging                               // nil: logs, exec, attach, port-forward, run and the like are refused (enableDebuggingHandlers: false)
}

// Debugging is what is served beside the sessions with containers.
type Debugging struct {
	SystemLogs string // the directory that /logs/ shows (enableSystemLogHandler); "": none
	LogQueries bool   // of the journal, by /logs/?query= (enableSystemLogQuery)
	Profiling  bool   // /debug/pprof/ (enableProfilingHandler)
	// Verbosity changes how much is logged, as the flag -v does: PUT /debug/flags/v (enableDebugFlagsHandler); nil: off.
	Verbosity func(v int)
	Flags     func() map[string]string // the command line's, with nothing secret in them, for /flagz; nil: none
	Started   time.Time                // when the agent was started, for /statusz
}

// Node is the HTTPS server of a node.
type Node struct {
	listener net.Listener
	server   *http.Server
}

// ListenNode opens the HTTPS server; Run serves it.
func ListenNode(cfg NodeConfig, src Source) (*Node, error) {
	l, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w: set address or port to what is free", cfg.Address, err)
	}
	h := limit.Body(cfg.Auth.guard(cfg.mux(src)))
	if cfg.Count != nil {
		if h, err = cfg.Count(h); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	s := newHTTPServer(h)
	s.TLSConfig, s.ConnContext = cfg.tls(), limit.ConnContext
	return &Node{listener: limit.NewGate(l, connections, strangers), server: s}, nil
}

func (cfg NodeConfig) tls() *tls.Config {
	c := &tls.Config{
		MinVersion: max(cfg.MinVersion, tls.VersionTLS12), CipherSuites: cfg.CipherSuites, GetCertificate: cfg.GetCertificate,
		// Streams are upgraded by hijacking, which HTTP/2 does not have; the API server speaks HTTP/1.1 to nodes.
		NextProtos: []string{"http/1.1"},
	}
	if cfg.ClientCAs == nil {
		return c
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := cfg.ClientCAs()
		if err != nil {
			return nil, err
		}
		now := c.Clone()
		now.ClientCAs, now.GetConfigForClient = pool, nil
		return now, nil
	}
	return c
}

// Run serves until ctx ends.
func (n *Node) Run(ctx context.Context) error {
	return run(ctx, n.server, func() error { return n.server.ServeTLS(n.listener, "", "") })
}

// shutdownGrace is how long requests may go on when the agent ends; streams are cut.
const shutdownGrace = 2 * time.Second

func run(ctx context.Context, s *http.Server, serve func() error) error {
	s.BaseContext = func(net.Listener) context.Context { return ctx }
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := s.Shutdown(grace)
		stopped <- errors.Join(ignoreDeadline(err), s.Close())
	})
	err := serve()
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func ignoreDeadline(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (cfg NodeConfig) mux(src Source) http.Handler {
	mux := zpages.NewMux()
	answers := make(limit.Turns, answersAtOnce)
	health := healthz.New(src.Health)
	health.Serve(mux.HandleFunc)
	mux.HandleFunc("GET /metrics/slis", answers.Wait(http.HandlerFunc(health.SLIs)))
	mux.HandleFunc("GET /configz", answers.Wait(plain(src.configz)))
	mux.HandleFunc("GET /pods", answers.Wait(plain(src.listPods)))
	mux.HandleFunc("GET /pods/", answers.Wait(plain(src.listPods)))
	for pattern, h := range src.Handlers {
		mux.Handle(pattern, answers.Wait(h))
	}
	if cfg.Debugging == nil {
		for _, path := range []string{"/containerLogs/", "/exec/", "/attach/", "/portForward/", "/run/", "/runningpods/", "/checkpoint/", "/logs/", "/debug/"} {
			mux.HandleFunc(path, disabled("Debug endpoints are disabled."))
		}
		return mux
	}
	cfg.debug(mux)
	mux.HandleFunc("GET /runningpods", answers.Wait(plain(src.runningPods)))
	mux.HandleFunc("GET /runningpods/{$}", answers.Wait(plain(src.runningPods)))
	commands := make(limit.Turns, commandsAtOnce)
	busy := func(h handler) http.HandlerFunc {
		return commands.Refuse("as many commands and checkpoints as may be run at once are running: try again, or use exec", plain(h))
	}
	mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", busy(src.run))
	mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", busy(src.run))
	mux.HandleFunc("POST /checkpoint/{namespace}/{pod}/{container}", busy(src.checkpoint))
	stream := func(h handler) http.HandlerFunc { return limit.Idle(cfg.StreamTimeout, plain(h)) }
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", stream(src.log))
	for _, m := range []string{"GET", "POST"} {
		mux.HandleFunc(m+" /exec/{namespace}/{pod}/{container}", stream(src.exec))
		mux.HandleFunc(m+" /exec/{namespace}/{pod}/{uid}/{container}", stream(src.exec))
		mux.HandleFunc(m+" /attach/{namespace}/{pod}/{container}", stream(src.attach))
		mux.HandleFunc(m+" /attach/{namespace}/{pod}/{uid}/{container}", stream(src.attach))
		mux.HandleFunc(m+" /portForward/{namespace}/{pod}", stream(src.portForward))
		mux.HandleFunc(m+" /portForward/{namespace}/{pod}/{uid}", stream(src.portForward))
	}
	pages := zpages.Pages{Version: VersionInfo(src.Version), Started: cfg.Debugging.Started, Flags: cfg.Debugging.Flags}
	mux.HandleFunc("GET /flagz", answers.Wait(http.HandlerFunc(pages.Flagz)))
	pages.Paths = mux.Paths() // last: it tells the others
	mux.HandleFunc("GET /statusz", answers.Wait(http.HandlerFunc(pages.Statusz)))
	return mux
}

func disabled(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { tell(w, why, http.StatusMethodNotAllowed) }
}

// Health is the plain health server on loopback.
type Health struct {
	listener net.Listener
	server   *http.Server
}

// ListenHealth opens the health server; Run serves it.
func ListenHealth(address string, src Source) (*Health, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w: set healthzPort to what is free, or to 0 for none", address, err)
	}
	mux := http.NewServeMux()
	healthz.New(src.Health).Serve(mux.HandleFunc)
	return &Health{listener: limit.NewGate(l, strangers, strangers), server: newHTTPServer(mux)}, nil
}

// Close gives up the address of a server that is not run.
func (h *Health) Close() error { return h.listener.Close() }

// Run serves until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	return run(ctx, h.server, func() error { return h.server.Serve(h.listener) })
}
