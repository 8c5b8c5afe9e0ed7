package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/moby/spdystream"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	//lint:ignore SA1019 the executors of client-go take connections of no other package
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/remotecommand"
)

const defaultSocket = "/run/minikubelet/minikubelet.sock"

// client asks the agent over its local socket.
type client struct {
	socket    string
	transport *http.Transport
}

// socketFlag adds --socket to a command.
func socketFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("socket", defaultSocket, "the agent's local socket (localAPI.socket of its configuration)")
}

func newClient(socket string) *client {
	return &client{socket: socket, transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
}

// open makes a request and returns the body of its answer, or an error that says what to do.
func (c *client) open(ctx context.Context, method, path string, q url.Values, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url(path, q).String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: c.transport}).Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return nil, errors.Join(refused(resp.StatusCode, text), err, resp.Body.Close())
}

func (c *client) url(path string, q url.Values) *url.URL {
	return &url.URL{Scheme: "http", Host: "minikubelet", Path: path, RawQuery: q.Encode()}
}

// unreachable says why nobody answers on the socket.
func (c *client) unreachable(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("cannot use %s: permission denied: run this as root", c.socket)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("no agent answers on %s: start it (systemctl start minikubelet), or name its socket with --socket", c.socket)
	default:
		return err
	}
	return &failure{Code: exitNoAgent, Err: err}
}

// refused reads why the agent does not answer a request.
func refused(code int, text []byte) error {
	var s metav1.Status
	err := errors.New(cmp.Or(strings.TrimSpace(string(text)), http.StatusText(code)))
	if json.Unmarshal(text, &s) == nil && s.Message != "" {
		err = errors.New(s.Message)
	}
	switch code {
	case http.StatusNotFound:
		return &failure{Code: exitNotFound, Err: err}
	case http.StatusForbidden:
		return &failure{Code: exitNoAgent, Err: err}
	}
	return err
}

// get decodes the answer to one request.
func (c *client) get(ctx context.Context, path string, q url.Values, into any) error {
	body, err := c.open(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	return errors.Join(json.NewDecoder(body).Decode(into), body.Close())
}

// post sends a value and decodes the answer.
func (c *client) post(ctx context.Context, path string, what, into any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	body, err := c.open(ctx, http.MethodPost, path, nil, bytes.NewReader(b))
	if err != nil {
		return err
	}
	return errors.Join(json.NewDecoder(body).Decode(into), body.Close())
}

// follow decodes a stream of watch events and hands each object to do, until the stream or ctx ends.
func follow[T any](ctx context.Context, c *client, path string, q url.Values, do func(kind watch.EventType, object *T) error) error {
	q.Set("watch", "true")
	body, err := c.open(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var e struct {
			Type   watch.EventType `json:"type"`
			Object *T              `json:"object"`
		}
		if err := dec.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return &failure{Code: exitNoAgent, Err: fmt.Errorf("the agent ended the stream: %w", err)}
		}
		if err := do(e.Type, e.Object); err != nil {
			return err
		}
	}
}

const pingEvery = 30 * time.Second

// stream runs a session of exec or attach until it ends.
func (c *client) stream(ctx context.Context, path string, q url.Values, o remotecommand.StreamOptions) error {
	spdystream.DEBUG = "" // it is $DEBUG, and would write each frame among what the program in the container writes
	rt, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{UpgradeTransport: c.transport, PingPeriod: pingEvery})
	if err != nil {
		return err
	}
	session, err := remotecommand.NewSPDYExecutorForTransports(rt, rt, http.MethodPost, c.url(path, q))
	if err != nil {
		return err
	}
	return c.unreachable(session.StreamWithContext(ctx, o))
}

func objectsPath(namespace, kind string) string {
	if namespace == "" {
		return "/api/v1/" + kind
	}
	return "/api/v1/namespaces/" + url.PathEscape(namespace) + "/" + kind
}

func podPath(namespace, name, verb string) string {
	return objectsPath(namespace, "pods") + "/" + url.PathEscape(name) + "/" + verb
}
