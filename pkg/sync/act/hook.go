package act

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

const (
	maxHookOutput = 1024 // bytes of a hook's output that go into its error
	maxRedirects  = 10   // that an httpGet hook follows
)

// hook runs one lifecycle handler of a container. The context bounds it.
func (e *Executor) hook(ctx context.Context, h *v1.LifecycleHandler, c *v1.Container, containerID, podIP string) error {
	switch {
	case h.Exec != nil:
		r, err := e.cfg.Runtime.ExecSync(ctx, containerID, h.Exec.Command, 0)
		if err != nil {
			return err
		}
		if r.ExitCode != 0 {
			out := string(append(r.Stdout, r.Stderr...))
			return fmt.Errorf("command %q exited with %d: %s", strings.Join(h.Exec.Command, " "), r.ExitCode, head(out))
		}
		return nil
	case h.Sleep != nil:
		t := time.NewTimer(pod.Seconds(h.Sleep.Seconds))
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		}
	case h.HTTPGet != nil:
		return httpHook(ctx, h.HTTPGet, c, podIP)
	case h.TCPSocket != nil:
		port, err := portNumber(h.TCPSocket.Port, c)
		if err != nil {
			return err
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(orElse(h.TCPSocket.Host, podIP), port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return nil
}

// httpHook makes the request of an httpGet handler; any answer below 400 is a success. Certificates are not verified, as
// for probes: a container's own certificate names no address.
func httpHook(ctx context.Context, get *v1.HTTPGetAction, c *v1.Container, podIP string) error {
	port, err := portNumber(get.Port, c)
	if err != nil {
		return err
	}
	u, err := url.Parse(get.Path)
	if err != nil {
		return fmt.Errorf("cannot use the path of an httpGet hook: %w", err)
	}
	u.Scheme = strings.ToLower(orElse(string(get.Scheme), "http"))
	u.Host = net.JoinHostPort(orElse(get.Host, podIP), port)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("cannot make the request of an httpGet hook: %w", err)
	}
	req.Header.Set("User-Agent", "kube-lifecycle/1.36")
	for _, h := range get.HTTPHeaders {
		if strings.EqualFold(h.Name, "host") {
			req.Host = h.Value
		}
		req.Header.Add(h.Name, h.Value)
	}
	client := http.Client{CheckRedirect: followSameHost, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}}
	resp, err := client.Do(req)
	if errors.Is(err, http.ErrSchemeMismatch) { // hooks once spoke plain HTTP whatever their scheme was
		req.URL.Scheme = "http"
		resp, err = client.Do(req)
	}
	if err != nil {
		return err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxHookOutput))
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answered %s: %s", u.Redacted(), resp.Status, head(string(body)))
	}
	return nil
}

// followSameHost ends at a redirect to another host: what answers there is not the container.
func followSameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

func portNumber(port intstr.IntOrString, c *v1.Container) (string, error) {
	if port.Type == intstr.Int {
		return port.String(), nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return fmt.Sprint(p.ContainerPort), nil
		}
	}
	if port.IntValue() > 0 {
		return port.StrVal, nil
	}
	return "", fmt.Errorf("container %s has no port named %q", c.Name, port.StrVal)
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func head(s string) string {
	if len(s) > maxHookOutput {
		return s[:maxHookOutput]
	}
	return s
}
