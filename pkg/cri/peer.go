package cri

import (
	"context"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// peer knows the process that took the newest connection to a socket.
type peer struct{ pid atomic.Int32 }

func (p *peer) dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if u, ok := conn.(*net.UnixConn); ok {
		p.ask(u)
	}
	return conn, nil
}

// ask leaves the process as it is when the kernel does not tell.
func (p *peer) ask(conn *net.UnixConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p.pid.Store(cred.Pid)
		}
	})
}
