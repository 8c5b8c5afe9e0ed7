package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/localsocket"
	"github.com/minikubelet/minikubelet/pkg/server/healthz"
)

// Local is the server on the unix socket for the person at the node.
type Local struct {
	listener net.Listener
	server   *http.Server
}

// ListenLocal opens the socket, mode 0600. One that a killed agent left behind is replaced; one that another agent answers
// on is an error. Requests are answered for root, and for the user that the agent runs as, alone.
func ListenLocal(path string, src Source) (*Local, error) {
	l, err := localsocket.Listen(path)
	switch {
	case errors.Is(err, localsocket.ErrTaken):
		return nil, fmt.Errorf("%w: stop it, or give localAPI.socket another path", err)
	case err != nil:
		return nil, fmt.Errorf("cannot open the local socket: %w", err)
	}
	s := newHTTPServer(peersOnly(localMux(src)))
	s.ConnContext = withPeer
	return &Local{listener: l, server: s}, nil
}

// Run serves until ctx ends.
func (l *Local) Run(ctx context.Context) error {
	return run(ctx, l.server, func() error { return l.server.Serve(l.listener) })
}

// Close gives up the socket of a server that is not run.
func (l *Local) Close() error { return l.listener.Close() }

type peerKey struct{}

// withPeer notes whether whoever connected may use the socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, localsocket.CheckPeer(c) == nil)
}

// peersOnly answers those alone that withPeer has found fit.
func peersOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fit, known := r.Context().Value(peerKey{}).(bool); known && fit {
			next.ServeHTTP(w, r)
			return
		}
		status(func(http.ResponseWriter, *http.Request) error {
			return refusal{http.StatusForbidden, metav1.StatusReasonForbidden, "the local API is for root alone: run this as root"}
		})(w, r)
	})
}

func localMux(src Source) http.Handler {
	mux := http.NewServeMux()
	health := healthz.New(src.Health)
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		mux.HandleFunc("GET "+path, health.Answer)
	}
	routes := map[string]handler{
		"GET /version": src.version, "GET /configz": src.configz,
		"GET /api": src.apiVersions, "GET /apis": src.apiGroups, "GET /api/v1": src.apiResources,
		"GET /api/v1/pods":                                  src.pods,
		"GET /api/v1/namespaces/{namespace}/pods":           src.pods,
		"GET /api/v1/events":                                src.events,
		"GET /api/v1/namespaces/{namespace}/events":         src.events,
		"GET /api/v1/nodes":                                 src.nodes,
		"GET /api/v1/nodes/{name}":                          src.oneNode,
		"POST /minikubelet/v1/check":                        src.check,
		"GET /api/v1/namespaces/{namespace}/pods/{pod}":     src.onePod,
		"GET /api/v1/namespaces/{namespace}/pods/{pod}/log": src.log,
		"GET /": func(_ http.ResponseWriter, r *http.Request) error { return notFound("there is no %s here", r.URL.Path) },
	}
	for verb, h := range map[string]handler{"exec": src.exec, "attach": src.attach, "portforward": src.portForward} {
		for _, method := range []string{"GET ", "POST "} {
			routes[method+"/api/v1/namespaces/{namespace}/pods/{pod}/"+verb] = h
		}
	}
	for pattern, h := range routes {
		mux.HandleFunc(pattern, status(h))
	}
	return mux
}
