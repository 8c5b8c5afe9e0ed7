package probes

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/minikubelet/minikubelet/pkg/probes/handler"
)

const (
	handshakeTime = 10 * time.Second // of TLS, where a probe's timeout is longer
	maxHeader     = 1 << 20          // of an answer, in bytes
	readBuffer    = 1 << 10          // of a connection, in bytes: most answers are short
)

// newTransport returns what HTTP probes make their requests with. Each request has a connection of its own: one that was
// kept would hide a server that accepts none any more. HTTPS speaks HTTP/2 with servers that prefer it, and certificates
// are not checked. Proxies that the agent's environment names are not for pods.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		TLSHandshakeTimeout:    handshakeTime,
		DisableKeepAlives:      true,
		DisableCompression:     true, // what is read is bounded as it was sent
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         readBuffer,
	}
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	linger(conn)
	return conn, nil
}

// httpCheck makes one GET request. Any status from 200 to 399 passes; redirects are followed within the same host.
type httpCheck struct {
	request *http.Request // without a context; each check takes a copy
	client  http.Client
}

func newHTTPCheck(request *http.Request, transport http.RoundTripper, timeout time.Duration) *httpCheck {
	return &httpCheck{request: request, client: http.Client{Transport: transport, CheckRedirect: handler.FollowSameHost, Timeout: timeout}}
}

func (c *httpCheck) Check(ctx context.Context) (outcome, string) {
	resp, err := c.client.Do(c.request.WithContext(ctx))
	if err != nil {
		return failed, err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // closes the connection, whose answer was read
	var body []byte
	// What follows a switch of protocols is no body: it ends with the connection, and no timeout ends it.
	if resp.StatusCode != http.StatusSwitchingProtocols {
		if body, err = io.ReadAll(io.LimitReader(resp.Body, maxOutput)); err != nil {
			return unread, err.Error()
		}
	}
	switch {
	case resp.StatusCode < 200 || resp.StatusCode >= 400:
		// Not the body: users with little access could read it in the event.
		return failed, fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	case resp.StatusCode >= 300:
		return warned, "Probe terminated redirects, Response body: " + string(body)
	}
	return passed, string(body)
}
