package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the local socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("another agent serves %s: stop it, or give localAPI.socket another path", path), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace the local socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the local socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot protect the local socket: %w", err), l.Close())
	}
	s := newHTTPServer(peersOnly(localMux(src), os.Geteuid()))
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

// withPeer notes who is at the other end of a connection: the mode of a socket is checked when it is connected to, and
// whoever made its directory may have let others in.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uid, err := peer(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

func peer(c net.Conn) (uid int, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// peersOnly answers root and one more user.
func peersOnly(next http.Handler, own int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, known := r.Context().Value(peerKey{}).(int)
		if known && (uid == 0 || uid == own) {
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
