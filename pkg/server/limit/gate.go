package limit

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Gate is a listener with a bounded number of connections, and a smaller number of those that nobody has vouched for: the
// handshake and the header of a stranger cost memory before it is known who that is. While all places are taken, others
// wait to be accepted.
type Gate struct {
	net.Listener
	places, strangers chan struct{}
	closed            chan struct{}
	close             func()
}

// NewGate bounds the connections of a listener.
func NewGate(l net.Listener, places, strangers int) *Gate {
	g := &Gate{Listener: l, places: make(chan struct{}, places), strangers: make(chan struct{}, strangers), closed: make(chan struct{})}
	g.close = sync.OnceFunc(func() { close(g.closed) })
	return g
}

// Accept waits for a place, then for who takes it.
func (g *Gate) Accept() (net.Conn, error) {
	for _, places := range []chan struct{}{g.places, g.strangers} {
		select {
		case places <- struct{}{}:
		case <-g.closed:
			return nil, net.ErrClosed
		}
	}
	c, err := g.Listener.Accept()
	if err != nil {
		<-g.places
		<-g.strangers
		return nil, err
	}
	return &visitor{Conn: c, known: sync.OnceFunc(func() { <-g.strangers }), gone: sync.OnceFunc(func() { <-g.places })}, nil
}

// Close ends the listener, and the wait of Accept.
func (g *Gate) Close() error {
	g.close()
	return g.Listener.Close()
}

type visitor struct {
	net.Conn
	known, gone func()
}

func (v *visitor) Close() error {
	v.known()
	v.gone()
	return v.Conn.Close()
}

type visitorKey struct{}

// ConnContext is for an http.Server: with it, Vouch finds the connection of a request.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = t.NetConn()
	}
	if v, ok := c.(*visitor); ok {
		return context.WithValue(ctx, visitorKey{}, v)
	}
	return ctx
}

// Vouch gives the stranger's place that a request's connection has to another: it is known who makes the request.
func Vouch(r *http.Request) {
	if v, ok := r.Context().Value(visitorKey{}).(*visitor); ok {
		v.known()
	}
}
