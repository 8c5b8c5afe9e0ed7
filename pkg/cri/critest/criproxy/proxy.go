// Package criproxy is a proxy in front of a container runtime's socket, for tests. It passes every call on as it is, of
// services that it has never heard of too, and lets hooks see, change, refuse or answer it: a runtime stricter than the
// real one, one that answers nothing, one whose streams break off, or a recording of what was asked and answered. Without a
// runtime behind it, hooks answer everything.
package criproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Call is one call of a client.
type Call struct {
	Method  string                      // /runtime.v1.RuntimeService/Version
	Request []byte                      // the first message, encoded; what Forward sends
	Answer  func(response []byte) error // sends the client one message; a hook may put its own in front of it
	// Forward lets the runtime answer: it returns when the call is over, with the runtime's error. It is called once.
	Forward func(ctx context.Context) error
}

// Hook takes part in a call: it answers it, forwards it, or both, and its error is the client's. A hook that has nothing to
// do with a call returns c.Forward(ctx).
type Hook func(ctx context.Context, c *Call) error

// Proxy serves on a socket.
type Proxy struct {
	server *grpc.Server
	conn   *grpc.ClientConn // nil: no runtime
	served sync.WaitGroup

	mu   sync.Mutex
	hook Hook
}

// Start serves on socket in front of the runtime on another; "" for none. Hook may be nil.
func Start(socket, runtime string, hook Hook) (*Proxy, error) {
	p := &Proxy{hook: hook}
	if runtime != "" {
		var err error
		p.conn, err = grpc.NewClient("unix://"+runtime, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)))
		if err != nil {
			return nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.server = grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(p.serve), grpc.MaxRecvMsgSize(math.MaxInt32))
	p.served.Go(func() { _ = p.server.Serve(l) }) // ends by Stop
	return p, nil
}

// Set exchanges the hook, for calls to come.
func (p *Proxy) Set(h Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = h
}

// Stop ends every call and removes the socket.
func (p *Proxy) Stop() error {
	p.server.Stop()
	p.served.Wait()
	return p.close()
}

func (p *Proxy) close() error {
	if p.conn == nil {
		return nil
	}
	return p.conn.Close()
}

func (p *Proxy) serve(_ any, s grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(s)
	c := &Call{Method: method, Answer: func(b []byte) error { return s.SendMsg(&b) }}
	if err := s.RecvMsg(&c.Request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.Forward = func(ctx context.Context) error { return p.forward(ctx, c, s) }
	p.mu.Lock()
	hook := p.hook
	p.mu.Unlock()
	if hook == nil {
		return c.Forward(s.Context())
	}
	return hook(s.Context(), c)
}

// forward copies messages both ways until the runtime ends the call.
func (p *Proxy) forward(ctx context.Context, c *Call, s grpc.ServerStream) error {
	if p.conn == nil {
		return status.Error(codes.Unimplemented, "there is no runtime behind the proxy, and no hook answers "+c.Method)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	md, _ := metadata.FromIncomingContext(ctx)
	out, err := p.conn.NewStream(metadata.NewOutgoingContext(ctx, md), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, c.Method)
	if err != nil {
		return err
	}
	if err := out.SendMsg(&c.Request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	go func() { // ends with the call, which its server ends when serve returns
		for {
			var b []byte
			if s.RecvMsg(&b) != nil || out.SendMsg(&b) != nil {
				_ = out.CloseSend()
				return
			}
		}
	}()
	for {
		var b []byte
		if err := out.RecvMsg(&b); err != nil {
			s.SetTrailer(out.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := c.Answer(b); err != nil {
			return err
		}
	}
}

// raw hands messages through as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("cannot pass on a %T", v)
	}
	return *b, nil
}

func (raw) Unmarshal(b []byte, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot pass on a %T", v)
	}
	*into = append([]byte(nil), b...)
	return nil
}

func (raw) Name() string { return "proto" }
