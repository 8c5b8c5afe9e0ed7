package probes

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// named is a health service that does as the name of the service says.
type named struct {
	healthpb.UnimplementedHealthServer
	agents chan string // that have asked for the server as a whole
}

func (n *named) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	switch r.Service {
	case "down":
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "unknown":
		return nil, status.Error(codes.NotFound, "unknown service")
	case "unavailable":
		return nil, status.Error(codes.Unavailable, "not now")
	}
	sent, _ := metadata.FromIncomingContext(ctx)
	n.agents <- strings.Join(sent.Get("user-agent"), ",")
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// serveGRPC serves until the test ends and returns its port.
func serveGRPC(t *testing.T, register func(*grpc.Server)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, done := grpc.NewServer(), make(chan error, 1)
	register(s)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

func refused(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestGRPC_SaysWhatAKubeletSays(t *testing.T) {
	n := &named{agents: make(chan string, 2)}
	health := serveGRPC(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, n) })
	bare := serveGRPC(t, func(*grpc.Server) {})
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	const unconnected = `timeout: failed to connect service "127.0.0.1:PORT" within 300ms: context deadline exceeded`
	for _, tt := range []struct {
		name, service string
		port          int
		want          outcome
		text          string
	}{
		{"serving", "", health, passed, "service healthy"},
		{"not serving", "down", health, failed, `service unhealthy (responded with "NOT_SERVING")`},
		{"no such service", "unknown", health, failed, "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"},
		{"unavailable", "unavailable", health, failed, "error: health rpc probe failed: rpc error: code = Unavailable desc = not now"},
		{"slow", "slow", health, failed, "timeout: health rpc did not complete within 300ms"},
		{"without health", "", bare, failed, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health"},
		{"another protocol", "", web.Listener.Addr().(*net.TCPAddr).Port, failed, unconnected},
		{"refused", "", refused(t), failed, unconnected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			finds(t, newGRPCCheck("127.0.0.1", tt.port, tt.service, 300*time.Millisecond), tt.want, strings.ReplaceAll(tt.text, "PORT", strconv.Itoa(tt.port)))
		})
	}
	if agent := <-n.agents; !strings.HasPrefix(agent, "kube-probe/1.36 grpc-go/") {
		t.Errorf("the probe called itself %q", agent)
	}
}

// A server that is about to listen has the timeout for it.
func TestGRPC_WaitsForTheConnection(t *testing.T) {
	port := refused(t)
	result := make(chan string, 1)
	go func() {
		_, text := newGRPCCheck("127.0.0.1", port, "", 30*time.Second).Check(t.Context())
		result <- text
	}()
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, &named{agents: make(chan string, 1)})
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	if text := <-result; text != "service healthy" {
		t.Error(text)
	}
}
