package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrDown says that no agent listens; ErrDied that it took the request and went away without an answer.
var (
	ErrDown = errors.New("no agent listens on the CNI socket")
	ErrDied = errors.New("the agent died before it answered")
)

// Ask hands a request to the agent and waits for its answer for as long as the context lives: a slow agent is not a
// dead one, and two that work on the same sandbox are worse than one that waits.
func Ask(ctx context.Context, socket string, r Request) (Response, error) {
	var resp Response
	b, err := json.Marshal(r)
	if err != nil {
		return resp, fmt.Errorf("cannot encode the request: %w", err)
	}
	if len(b) >= MaxRequest {
		return resp, fmt.Errorf("the request is larger than %d bytes", MaxRequest)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) {
		return resp, fmt.Errorf("%w: %w", ErrDown, err)
	}
	if err != nil {
		return resp, fmt.Errorf("cannot reach the agent: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if _, err := c.Write(b); err != nil {
		return resp, died(ctx, err)
	}
	if err := json.NewDecoder(io.LimitReader(c, MaxRequest)).Decode(&resp); err != nil {
		return resp, died(ctx, err)
	}
	return resp, nil
}

func died(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("cannot wait for the agent's answer: %w", ctx.Err())
	}
	return fmt.Errorf("%w: %w", ErrDied, err)
}
