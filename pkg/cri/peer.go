package cri

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/minikubelet/minikubelet/pkg/localsocket"
)

// peer knows the process that took the newest connection to a socket.
type peer struct{ pid atomic.Int32 }

func (p *peer) dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if who, err := localsocket.Peer(conn); err == nil { // else the process stays as it is known
		p.pid.Store(who.Pid)
	}
	return conn, nil
}
