package cri

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Deadlines of the calls. A caller's own deadline holds when it is earlier.
const (
	callTimeout = 2 * time.Minute // unless Options say otherwise; RunPodSandbox, which waits for the network, has twice that
	execSlack   = 10 * time.Second
)

// maxMessage is the largest answer taken, in bytes: a list of many containers with long annotations.
const maxMessage = 16 << 20

// bufferSize is the size of the connection's buffers in bytes: the answers are small and memory is not given away.
const bufferSize = 4 << 10

// Client speaks CRI v1 with one container runtime over one connection, which it renews by itself. It is safe for
// concurrent use. Errors match the sentinels of this package.
type Client struct {
	endpoint string
	timeout  time.Duration // of a call
	conn     *grpc.ClientConn
	peer     peer             // of conn
	second   *grpc.ClientConn // to the image service when it has a socket of its own, else nil
	runtime  runtimeapi.RuntimeServiceClient
	images   runtimeapi.ImageServiceClient
}

// Options are what a client may be told beside the runtime's endpoint. The zero value is right for most.
type Options struct {
	ImageEndpoint string        // of the image service; empty: the runtime's
	Timeout       time.Duration // of calls but the long ones (runtimeRequestTimeout); 0: 2 min
	// Observe is told of each call that ended: its full gRPC method, the request, how long it took, its error. Nil: nobody is.
	Observe func(method string, req any, took time.Duration, err error)
}

// New returns a client that connects when it is first used.
func New(endpoint string) (*Client, error) { return Open(endpoint, Options{}) }

// Open is New with options.
func Open(endpoint string, o Options) (*Client, error) {
	c := &Client{timeout: cmp.Or(o.Timeout, callTimeout)}
	var err error
	if c.conn, c.endpoint, err = connection(endpoint, "containerRuntimeEndpoint", o.Observe, &c.peer); err != nil {
		return nil, err
	}
	c.runtime = runtimeapi.NewRuntimeServiceClient(c.conn)
	c.images = runtimeapi.NewImageServiceClient(c.conn)
	if o.ImageEndpoint == "" || o.ImageEndpoint == endpoint {
		return c, nil
	}
	if c.second, _, err = connection(o.ImageEndpoint, "imageServiceEndpoint", o.Observe, new(peer)); err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	c.images = runtimeapi.NewImageServiceClient(c.second)
	return c, nil
}

func connection(endpoint, field string, observe func(string, any, time.Duration, error), p *peer) (*grpc.ClientConn, string, error) {
	path, err := socketPath(endpoint, field)
	if err != nil {
		return nil, "", err
	}
	url := "unix://" + path
	watched := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		begin := time.Now()
		err := invoke(ctx, method, req, reply, cc, opts...)
		if observe != nil {
			observe(method, req, time.Since(begin), err)
		}
		return err
	}
	conn, err := grpc.NewClient(url,
		grpc.WithUnaryInterceptor(watched),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.dial(ctx, path) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithSharedWriteBuffer(true),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: retryMin, Multiplier: 2, Jitter: 0.2, MaxDelay: retryMax},
			MinConnectTimeout: retryMax,
		}),
	)
	if err != nil {
		return nil, "", fmt.Errorf("cannot use container runtime endpoint %q: %w", endpoint, err)
	}
	return conn, url, nil
}

func socketPath(endpoint, field string) (string, error) {
	remedy := "set " + field + " to a URL such as unix:///run/containerd/containerd.sock"
	path := endpoint
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil {
			return "", fmt.Errorf("cannot read container runtime endpoint %q: %w; %s", endpoint, err, remedy)
		}
		if u.Scheme != "unix" || u.Host != "" {
			return "", fmt.Errorf("cannot use container runtime endpoint %q: not a unix socket; %s", endpoint, remedy)
		}
		path = u.Path
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("cannot use container runtime endpoint %q: no absolute path; %s", endpoint, remedy)
	}
	return filepath.Clean(path), nil
}

// PID is the runtime's process, 0 while it is not known.
func (c *Client) PID() int { return int(c.peer.pid.Load()) }

// Close ends the connection; calls in flight fail.
func (c *Client) Close() error {
	if c.second != nil {
		return errors.Join(c.second.Close(), c.conn.Close())
	}
	return c.conn.Close()
}

// SocketPath is the path of the runtime's socket.
func (c *Client) SocketPath() string { return strings.TrimPrefix(c.endpoint, "unix://") }

// operation is what a call is for, in the words of its error.
type operation struct {
	c     *Client
	limit time.Duration // zero: none but the context's
	what  string
}

// op is an operation that may take as long as any.
func (c *Client) op(what string) operation { return operation{c, c.timeout, what} }

// call makes one unary call with its own deadline and maps its error. An answer without what CRI requires is an error too.
func call[Q, R any](ctx context.Context, o operation, f func(context.Context, *Q, ...grpc.CallOption) (*R, error), q *Q) (*R, error) {
	if o.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.limit)
		defer cancel()
	}
	r, err := f(ctx, q)
	if err != nil {
		return nil, o.c.wrap(o.what, err)
	}
	if lack := lacks(r); lack != "" {
		return nil, o.incomplete(lack)
	}
	return r, nil
}
