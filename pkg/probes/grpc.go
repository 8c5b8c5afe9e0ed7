package probes

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// grpcCheck asks a service's health as grpc.health.v1 defines it (KEP-2727). Each check makes a new connection: a server
// that accepts none any more is not healthy.
type grpcCheck struct {
	addr    string
	service string
	timeout time.Duration
}

func newGRPCCheck(host string, port int, service string, timeout time.Duration) *grpcCheck {
	return &grpcCheck{addr: net.JoinHostPort(host, strconv.Itoa(port)), service: service, timeout: timeout}
}

func (c *grpcCheck) Check(ctx context.Context) (outcome, string) {
	conn, err := grpc.NewClient("passthrough:///"+c.addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent(userAgent),
		grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }), // no proxy
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10))
	if err != nil {
		return errored, err.Error()
	}
	defer conn.Close() //nolint:errcheck // nothing was written that could be lost

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := connect(ctx, conn); err != nil {
		return failed, fmt.Sprintf("timeout: failed to connect service %q within %v: %v", c.addr, c.timeout, err)
	}
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: c.service})
	switch s := status.Convert(err); s.Code() {
	case codes.OK:
	case codes.Unimplemented:
		return failed, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", s.Message())
	case codes.DeadlineExceeded:
		return failed, fmt.Sprintf("timeout: health rpc did not complete within %v", c.timeout)
	default:
		return failed, fmt.Sprintf("error: health rpc probe failed: %v", err)
	}
	if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return failed, fmt.Sprintf("service unhealthy (responded with %q)", answer.GetStatus())
	}
	return passed, "service healthy"
}

// connect waits for the connection as long as the context lasts: a server that refuses may be about to listen.
func connect(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		conn.Connect() // does nothing but where the connection is idle
		state := conn.GetState()
		if state == connectivity.Ready {
			return nil
		}
		if !conn.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
}
