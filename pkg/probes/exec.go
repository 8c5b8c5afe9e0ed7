package probes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/downward"
)

// ExecFunc runs a command in a container and returns its output and exit code. It ends by itself after timeout, with an
// error that is context.DeadlineExceeded or has the gRPC code DeadlineExceeded. Any other error means that the command
// could not be run.
type ExecFunc func(ctx context.Context, containerID string, cmd []string, timeout time.Duration) (out []byte, exitCode int, err error)

type execCheck struct {
	exec    ExecFunc
	id      string
	command []string
	timeout time.Duration
}

func (c *execCheck) Check(ctx context.Context) (outcome, string) {
	out, code, err := c.exec(ctx, c.id, c.command, c.timeout)
	switch {
	case err == nil && code == 0:
		return passed, clip(out)
	case err == nil:
		return failed, clip(out)
	case ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded):
		return failed, fmt.Sprintf("command timed out: %q timed out after %s", strings.Join(c.command, " "), c.timeout)
	}
	return errored, err.Error()
}

// expand replaces $(NAME) in a probe's command by the container's literal environment values, the only ones that are
// known without asking the API server.
func expand(command []string, env []v1.EnvVar) []string {
	literal := func(name string) (string, bool) {
		for i := len(env) - 1; i >= 0; i-- {
			if env[i].Name == name && env[i].ValueFrom == nil {
				return env[i].Value, true
			}
		}
		return "", false
	}
	out := make([]string, len(command))
	for i, arg := range command {
		out[i] = downward.Expand(arg, literal)
	}
	return out
}
