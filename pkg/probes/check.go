package probes

import (
	"context"
	"fmt"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// maxOutput bounds what is kept of a probe's answer, in bytes.
const maxOutput = 10 << 10

// userAgent is what HTTP and gRPC probes call themselves.
const userAgent = "kube-probe/1.36"

// outcome is what one check found.
type outcome int

const (
	errored outcome = iota // the check could not be made; says nothing about the container
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

// newChecker builds the checker of a probe. A probe that cannot be carried out (a port name that the container does not
// have, no handler at all) yields a checker that reports that, so that it is told as an event of the pod.
func newChecker(probe *v1.Probe, c *v1.Container, id, podIP string, exec ExecFunc) checker {
	check, err := buildChecker(probe, c, id, podIP, exec)
	if err != nil {
		text := err.Error()
		return checkFunc(func(context.Context) (outcome, string) { return errored, text })
	}
	return check
}

func buildChecker(probe *v1.Probe, c *v1.Container, id, podIP string, exec ExecFunc) (checker, error) {
	timeout := orDefault(probe.TimeoutSeconds, 1)
	switch {
	case probe.Exec != nil:
		return &execCheck{exec: exec, id: id, command: expand(probe.Exec.Command, c.Env), timeout: timeout}, nil
	case probe.HTTPGet != nil:
		port, err := portOf(probe.HTTPGet.Port, c)
		if err != nil {
			return nil, err
		}
		return newHTTPCheck(probe.HTTPGet, podIP, port, timeout)
	case probe.TCPSocket != nil:
		port, err := portOf(probe.TCPSocket.Port, c)
		if err != nil {
			return nil, err
		}
		host := probe.TCPSocket.Host
		if host == "" {
			host = podIP
		}
		return newTCPCheck(host, port, timeout), nil
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

// portOf resolves a port by number, by the name of one of the container's ports, or as a number written as a string.
func portOf(p intstr.IntOrString, c *v1.Container) (int, error) {
	port := p.IntValue()
	if p.Type == intstr.String {
		port = -1
		for i := range c.Ports {
			if c.Ports[i].Name == p.StrVal {
				port = int(c.Ports[i].ContainerPort)
			}
		}
		if n, err := strconv.Atoi(p.StrVal); port < 0 && err == nil {
			port = n
		}
		if port < 0 {
			return 0, fmt.Errorf("cannot find a port named %q in container %q: name one of its ports so", p.StrVal, c.Name)
		}
	}
	if port < 1 || port > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", port)
	}
	return port, nil
}

func clip(b []byte) string {
	if len(b) > maxOutput {
		b = b[:maxOutput]
	}
	return string(b)
}
