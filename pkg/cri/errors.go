package cri

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a call to the runtime can fail with; every other failure is opaque text. A cancelled call is context.Canceled.
var (
	ErrNotFound      = errors.New("the runtime does not know it")
	ErrExists        = errors.New("the runtime has it already")
	ErrUnavailable   = errors.New("the container runtime does not answer")
	ErrUnimplemented = errors.New("the container runtime does not have this call")
	ErrInvalid       = errors.New("the container runtime refuses the request")
	ErrTimeout       = errors.New("the container runtime took too long")
	ErrPrecondition  = errors.New("the container runtime cannot do that in its present state")
)

// failure is an error of the runtime: its own text, and the sentinel that callers branch on.
type failure struct {
	kind error
	text string
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

// wrap maps the error of one gRPC call, the only place where gRPC codes are read. What is a phrase such as "create
// container web".
func (c *Client) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	f := &failure{text: s.Message()}
	switch s.Code() {
	case codes.NotFound:
		f.kind = ErrNotFound
	case codes.AlreadyExists:
		f.kind = ErrExists
	case codes.Unimplemented:
		f.kind = ErrUnimplemented
	case codes.InvalidArgument, codes.OutOfRange:
		f.kind = ErrInvalid
	case codes.DeadlineExceeded:
		f.kind = ErrTimeout
	case codes.FailedPrecondition:
		f.kind = ErrPrecondition
	case codes.Canceled:
		f.kind = context.Canceled
	case codes.Unavailable:
		f.kind = ErrUnavailable
		f.text = fmt.Sprintf("the container runtime at %s does not answer: check that it runs (systemctl status containerd) "+
			"and that containerRuntimeEndpoint names its socket: %s", c.endpoint, s.Message())
	}
	return fmt.Errorf("cannot %s: %w", what, f)
}
