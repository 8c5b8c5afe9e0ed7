package testbed

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// SlowLine is a way to an API server on which what the server says arrives late: the answers, and the events of watches.
// What is asked of it arrives at once, so that it has been done when an answer is given up.
type SlowLine struct {
	*ControlPlane // by way of the line

	mu      sync.Mutex
	late    time.Duration
	changed chan struct{} // closed when late changes
	conns   map[net.Conn]bool
}

// SlowLine opens a line that is not slow yet. The harness's own clients of the control plane do not use it.
func (cp *ControlPlane) SlowLine() *SlowLine {
	e := cp.e
	e.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(e.NodeIP(), "0"))
	if err != nil {
		e.t.Fatalf("cannot listen for a slow line: %v", err)
	}
	behind := *cp
	behind.URL = "https://" + listener.Addr().String()
	l := &SlowLine{ControlPlane: &behind, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.join(conn, strings.TrimPrefix(cp.URL, "https://")) })
		}
	})
	e.t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		wg.Wait()
	})
	return l
}

// Delay sets how late everything arrives from now on, what is on its way included.
func (l *SlowLine) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = d
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *SlowLine) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

// join carries one connection until either side ends it.
func (l *SlowLine) join(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.conns[client], l.conns[server] = true, true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, client)
		delete(l.conns, server)
	}()
	said := make(chan chunk, 1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		_, _ = io.Copy(server, client)
	})
	wg.Go(func() {
		defer close(said)
		for {
			b := make([]byte, 32<<10)
			n, err := server.Read(b)
			said <- chunk{time.Now(), b[:n]}
			if err != nil {
				return
			}
		}
	})
	var gone error
	for c := range said {
		if gone == nil { // what comes after that is taken, so that the reader ends
			l.wait(c.at)
			_, gone = client.Write(c.bytes)
			if gone != nil {
				gone = errors.Join(gone, server.Close())
			}
		}
	}
	client.Close()
	wg.Wait()
}

// chunk is something that the server said, and when.
type chunk struct {
	at    time.Time
	bytes []byte
}

// wait returns when what was said at that time may arrive.
func (l *SlowLine) wait(at time.Time) {
	for {
		l.mu.Lock()
		left, changed := l.late-time.Since(at), l.changed
		l.mu.Unlock()
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-changed:
		}
		t.Stop()
	}
}
