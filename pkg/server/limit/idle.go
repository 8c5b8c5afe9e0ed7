package limit

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// Idle cuts the upgraded connections of a handler on which nothing was read or written for a time, and answers that nobody
// has read for as long; 0: never.
func Idle(timeout time.Duration, next http.HandlerFunc) http.HandlerFunc {
	if timeout <= 0 {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) { next(idleWriter{w, timeout}, r) }
}

type idleWriter struct {
	http.ResponseWriter
	timeout time.Duration
}

// Unwrap is for http.ResponseController.
func (w idleWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write waits for its reader for the time.
func (w idleWriter) Write(b []byte) (int, error) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout)) // a recorder of tests has none
	return w.ResponseWriter.Write(b)
}

// Hijack hands over the connection with a deadline that moves on with each read and write.
func (w idleWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	idle := idleConn{c, w.timeout}
	return idle, buffered, idle.SetDeadline(time.Now().Add(w.timeout))
}

type idleConn struct {
	net.Conn
	timeout time.Duration
}

func (c idleConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.extend(n, err)
}

func (c idleConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.extend(n, err)
}

func (c idleConn) extend(n int, err error) error {
	if n == 0 || err != nil {
		return err
	}
	return c.SetDeadline(time.Now().Add(c.timeout))
}
