package probes

import (
	"context"
	"net"
	"strconv"
	"time"
)

// tcpCheck passes when a connection can be made.
type tcpCheck struct {
	addr   string
	dialer net.Dialer
}

func newTCPCheck(host string, port int, timeout time.Duration) *tcpCheck {
	return &tcpCheck{addr: net.JoinHostPort(host, strconv.Itoa(port)), dialer: net.Dialer{Timeout: timeout, KeepAlive: -1}}
}

func (c *tcpCheck) Check(ctx context.Context) (outcome, string) {
	conn, err := c.dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return failed, err.Error()
	}
	linger(conn)
	_ = conn.Close() // the connection was all that was asked for
	return passed, ""
}

// linger keeps the sockets of frequent probes from gathering in TIME_WAIT.
func linger(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(1)
	}
}
