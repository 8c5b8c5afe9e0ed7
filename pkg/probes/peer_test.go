package probes

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// peer is a server that writes the same bytes in answer to every request and keeps what it was sent. It closes the
// connection then, or with hold when the client does.
type peer struct {
	port   int
	answer string // PORT in it is the peer's own
	hold   bool

	mu       sync.Mutex
	requests []string // in bytes, one a connection
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	r, head := bufio.NewReader(c), ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		head += line
	}
	p.mu.Lock()
	p.requests = append(p.requests, strings.ReplaceAll(head, strconv.Itoa(p.port), "PORT"))
	p.mu.Unlock()
	answer := strings.ReplaceAll(p.answer, "PORT", strconv.Itoa(p.port))
	if strings.HasPrefix(head, "GET /target") {
		answer = good
	}
	if _, err := io.WriteString(c, answer); err == nil && p.hold {
		_, _ = io.Copy(io.Discard, r)
	}
}

// take returns the requests since the last take.
func (p *peer) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.requests = nil }()
	return p.requests
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// listen makes a peer serve at an address, with TLS where it is given a configuration.
func listen(t *testing.T, p *peer, addr string, conf *tls.Config) *peer {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	if conf != nil {
		conf.Certificates = certificates()
		l = tls.NewListener(l, conf)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return p
}

// certificates are of a name that no probe asks for.
func certificates() []tls.Certificate {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	return slices.Clone(s.TLS.Certificates)
}
