package probes

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/probes/handler"
)

// maxOutput bounds what is kept of a probe's answer, in bytes.
const maxOutput = 10 << 10

// userAgent is what HTTP and gRPC probes call themselves.
const userAgent = "kube-probe/1.36"

// outcome is what one check found. Errored and unread say nothing about the container.
type outcome int

const (
	errored outcome = iota // the check could not be made
	unread                 // what was asked for came, and broke off or did not end in time
	failed
	warned // passed, with something that a person should look at
	passed
)

// checker makes one check. It keeps to its probe's timeout and never returns more than maxOutput bytes of text.
type checker interface {
	Check(ctx context.Context) (outcome, string)
}

// checkFunc is a checker that cannot be built and says why each time it is asked.
type checkFunc func(ctx context.Context) (outcome, string)

func (f checkFunc) Check(ctx context.Context) (outcome, string) { return f(ctx) }

// means are what checks are made with.
type means struct {
	exec ExecFunc
	http http.RoundTripper
}

// checker builds the checker of a probe. A probe that cannot be carried out (a port name that the container does not
// have, no handler at all) yields a checker that reports that, so that it is told as an event of the pod.
func (m means) checker(probe *v1.Probe, c *v1.Container, id, podIP string) checker {
	check, err := m.build(probe, c, id, podIP)
	if err != nil {
		text := err.Error()
		return checkFunc(func(context.Context) (outcome, string) { return errored, text })
	}
	return check
}

func (m means) build(probe *v1.Probe, c *v1.Container, id, podIP string) (checker, error) {
	timeout := orDefault(probe.TimeoutSeconds, 1)
	switch {
	case probe.Exec != nil:
		return &execCheck{exec: m.exec, id: id, command: expand(probe.Exec.Command, c.Env), timeout: timeout}, nil
	case probe.HTTPGet != nil:
		request, err := handler.NewRequest(probe.HTTPGet, c, podIP, userAgent)
		if err != nil {
			return nil, err
		}
		return newHTTPCheck(request, m.http, timeout), nil
	case probe.TCPSocket != nil:
		port, err := handler.Port(probe.TCPSocket.Port, c)
		if err != nil {
			return nil, err
		}
		return newTCPCheck(cmp.Or(probe.TCPSocket.Host, podIP), port, timeout), nil
	case probe.GRPC != nil:
		service := ""
		if probe.GRPC.Service != nil {
			service = *probe.GRPC.Service
		}
		return newGRPCCheck(podIP, int(probe.GRPC.Port), service, timeout), nil
	}
	return nil, fmt.Errorf("missing probe handler for container %q: give it exec, httpGet, tcpSocket or grpc", c.Name)
}

// orDefault reads a field of seconds; file pods that were not defaulted have zero there.
func orDefault(seconds, def int32) time.Duration {
	if seconds <= 0 {
		seconds = def
	}
	return pod.Seconds(int64(seconds))
}

func clip(b []byte) string {
	if len(b) > maxOutput {
		b = b[:maxOutput]
	}
	return string(b)
}
