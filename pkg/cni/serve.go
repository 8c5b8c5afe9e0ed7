package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/minikubelet/minikubelet/pkg/localsocket"
)

// ioTimeout bounds the reading of a request and the writing of its response.
const ioTimeout = 10 * time.Second

// Pauses after a connection that could not be accepted; they double.
const (
	acceptMin = 5 * time.Millisecond
	acceptMax = time.Second
)

// Serve answers the plugin on a unix socket until the context ends, then waits for the requests under way. The socket
// is root's alone. It fails when another agent answers on the socket.
func (n *Node) Serve(ctx context.Context, socket string) error {
	l, err := localsocket.Listen(socket)
	if err != nil {
		return fmt.Errorf("cannot serve the CNI plugin: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	return n.accept(ctx, l.AcceptUnix, func(c *net.UnixConn) {
		wg.Go(func() { n.serveConn(context.WithoutCancel(ctx), c) })
	})
}

// accept hands over connections until the context ends. A node that has no descriptor or memory to spare for one has them
// again later: the plugin that waits does not fail for it, and the agent goes on.
func (n *Node) accept(ctx context.Context, next func() (*net.UnixConn, error), serve func(*net.UnixConn)) error {
	pause := time.Duration(0)
	for {
		c, err := next()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot serve the CNI plugin: %w", err)
		case err == nil:
			pause = 0
			serve(c)
			continue
		case pause == 0:
			n.cfg.Log.Warn("cannot accept a connection of the CNI plugin: it is tried again", "err", err)
		}
		pause = min(max(2*pause, acceptMin), acceptMax)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// serveConn answers one request. A plugin that goes away (the runtime gave up and killed it) ends the work on it; an
// agent that is stopped finishes it.
func (n *Node) serveConn(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	if err := localsocket.CheckPeer(c); err != nil {
		n.cfg.Log.Warn("a connection to the CNI socket was refused", "err", err)
		return
	}
	_ = c.SetDeadline(time.Now().Add(ioTimeout))
	r, err := readRequest(c)
	if err != nil {
		n.answer(c, Response{Error: cniError(err)})
		return
	}
	_ = c.SetDeadline(time.Time{})
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(c, MaxRequest)) // ends when the plugin is gone, or the answer was sent
		cancel(errGone)
	})
	start := time.Now()
	resp := n.Do(ctx, r)
	n.logRequest(r, resp, time.Since(start))
	n.answer(c, resp)
	_ = c.CloseRead()
	wg.Wait()
}

var errGone = errors.New("the runtime gave up")

func (n *Node) answer(c net.Conn, resp Response) {
	_ = c.SetWriteDeadline(time.Now().Add(ioTimeout))
	if err := json.NewEncoder(c).Encode(resp); err != nil {
		n.cfg.Log.Warn("cannot answer the CNI plugin", "err", err)
	}
}

func (n *Node) logRequest(r Request, resp Response, took time.Duration) {
	level, text := slog.LevelDebug, ""
	if resp.Error != nil {
		level, text = slog.LevelWarn, resp.Error.Error()
	}
	n.cfg.Log.Log(context.Background(), level, "CNI request", "command", r.Command, "container", r.ContainerID, "took", took, "err", text)
}

// readRequest reads one JSON value of at most MaxRequest bytes.
func readRequest(r io.Reader) (Request, error) {
	var req Request
	lr := &io.LimitedReader{R: r, N: MaxRequest}
	if err := json.NewDecoder(lr).Decode(&req); err != nil {
		if lr.N == 0 {
			err = fmt.Errorf("it is larger than %d bytes", MaxRequest)
		}
		return req, fmt.Errorf("cannot read the plugin's request: %w", err)
	}
	return req, nil
}
