package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// maxRedirects and maxResponse bound what a server can make a probe do.
const (
	maxRedirects = 10
	maxResponse  = 1 << 20 // headers and what is read of the body, in bytes
)

// httpCheck makes one GET request. Any status from 200 to 399 passes; redirects are followed within the same host.
type httpCheck struct {
	request *http.Request // without a context; each check takes a copy
	timeout time.Duration
}

func newHTTPCheck(get *v1.HTTPGetAction, podIP string, port int, timeout time.Duration) (*httpCheck, error) {
	host := get.Host
	if host == "" {
		host = podIP
	}
	u, err := url.Parse(get.Path) // the path may carry a query
	if err != nil {
		u = &url.URL{Path: get.Path}
	}
	u.Scheme, u.Host = "http", net.JoinHostPort(host, strconv.Itoa(port))
	if strings.EqualFold(string(get.Scheme), "https") {
		u.Scheme = "https"
	}
	header := http.Header{}
	for _, h := range get.HTTPHeaders {
		header.Add(h.Name, h.Value)
	}
	if _, given := header["User-Agent"]; !given {
		header.Set("User-Agent", userAgent)
	}
	if _, given := header["Accept"]; !given {
		header.Set("Accept", "*/*")
	} else if header.Get("Accept") == "" {
		header.Del("Accept") // given as empty: wanted without
	}
	request := &http.Request{
		Method: http.MethodGet, URL: u, Header: header, Host: header.Get("Host"),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Close: true,
	}
	if request.Host == "" {
		request.Host = u.Host
	}
	return &httpCheck{request: request, timeout: timeout}, nil
}

func (c *httpCheck) Check(ctx context.Context) (outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	client := http.Client{Transport: oneShot{}, CheckRedirect: followSameHost}
	resp, err := client.Do(c.request.Clone(ctx))
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return failed, err.Error() + " (Client.Timeout exceeded while awaiting headers)"
		}
		return failed, err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // closes the connection, whose answer was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode >= 400:
		// Not the body: users with little access could read it in the event.
		return failed, fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	case err != nil:
		return failed, fmt.Sprintf("cannot read the answer's body: %v", err)
	case resp.StatusCode >= 300:
		return warned, "Probe terminated redirects, Response body: " + clip(body)
	}
	return passed, clip(body)
}

// followSameHost ends at a redirect to another host: what answers there is not the container.
func followSameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// oneShot sends one HTTP/1.1 request over a connection of its own. Unlike http.Transport it needs no goroutines: a
// probe never reuses a connection, and 50 of them may run each second. Certificates are not verified.
type oneShot struct{}

func (oneShot) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	addr := req.URL.Host
	if req.URL.Port() == "" { // a redirect to a URL without one
		addr = net.JoinHostPort(req.URL.Hostname(), map[string]string{"http": "80", "https": "443"}[req.URL.Scheme])
	}
	dialer := net.Dialer{KeepAlive: -1}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, timeoutOr(ctx, err)
	}
	linger(raw)
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	conn := raw
	if req.URL.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: req.URL.Hostname()})
	}
	resp, err := exchange(conn, req)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, timeoutOr(ctx, err)
	}
	resp.Body = &body{ReadCloser: resp.Body, conn: conn, stop: stop}
	return resp, nil
}

func exchange(conn net.Conn, req *http.Request) (*http.Response, error) {
	req.Close = true
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	r := bufio.NewReader(io.LimitReader(conn, maxResponse))
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		} // 1xx: the answer is still to come
	}
}

// timeoutOr makes of an error that the context caused the context's own.
func timeoutOr(ctx context.Context, err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return context.DeadlineExceeded // the dialer's own clock may be a moment ahead of the context's
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// body closes the connection with the answer.
type body struct {
	io.ReadCloser
	conn net.Conn
	stop func() bool
}

func (b *body) Close() error {
	b.stop()
	return b.conn.Close()
}
