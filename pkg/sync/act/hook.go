package act

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/probes/handler"
)

const (
	hookAgent     = "kube-lifecycle/1.36" // what httpGet hooks call themselves
	maxHookOutput = 1024                  // bytes of a command's output that go into its error
	maxHookHeader = 1 << 20               // bytes of an answer's header
	maxHookBody   = 10 << 10              // bytes of an answer that a hook waits for
)

// hooked is a running container that a hook is for.
type hooked struct {
	pod  *v1.Pod
	spec *v1.Container
	id   string
	ip   string // the pod's
}

// hook runs one lifecycle handler of a container. The context bounds it.
func (e *Executor) hook(ctx context.Context, h *v1.LifecycleHandler, c hooked) error {
	switch {
	case h.Exec != nil:
		r, err := e.cfg.Runtime.ExecSync(ctx, c.id, h.Exec.Command, 0)
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
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // it has slept for as long as it may: nothing was left undone
			}
			return ctx.Err()
		case <-t.C:
			return nil
		}
	case h.HTTPGet != nil:
		return e.httpHook(ctx, h.HTTPGet, c)
	case h.TCPSocket != nil:
		port, err := handler.Port(h.TCPSocket.Port, c.spec)
		if err != nil {
			return err
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(cmp.Or(h.TCPSocket.Host, c.ip), strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return nil
}

// httpHook makes the request of an httpGet handler. Any answer is a success: a hook tells a container something and asks
// nothing. The target receives what a kubelet sends, over HTTP/1.1 alone. Certificates are not verified, as for probes: a
// container's own certificate names no address.
func (e *Executor) httpHook(ctx context.Context, get *v1.HTTPGetAction, c hooked) error {
	if get.Host == "" && c.ip == "" {
		return errors.New("cannot make the request of an httpGet hook: the pod has no address")
	}
	req, err := handler.NewRequest(get, c.spec, c.ip, hookAgent)
	if err != nil {
		return fmt.Errorf("cannot make the request of an httpGet hook: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxResponseHeaderBytes: maxHookHeader}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: handler.FollowSameHost}
	err = answered(client.Do(req.WithContext(ctx)))
	if errors.Is(err, http.ErrSchemeMismatch) { // hooks once spoke plain HTTP whatever their scheme was
		plain := req.Clone(ctx)
		plain.URL.Scheme = "http"
		plain.Header.Del("Authorization") // not for others to read on the way
		if answered(client.Do(plain)) == nil {
			e.cfg.Event(c.pod, "", v1.EventTypeWarning, "LifecycleHTTPFallback",
				fmt.Sprintf("request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", req.URL.Host))
			return nil
		}
	}
	return err
}

// answered waits for the end of a short answer: a container may answer while it does what it was told to do.
func answered(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	// What follows a switch of protocols is no body, and the context does not end it.
	if resp.ContentLength <= maxHookBody && resp.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxHookBody))
	}
	_ = resp.Body.Close() // the answer has come
	return nil
}

func head(s string) string {
	if len(s) > maxHookOutput {
		return s[:maxHookOutput]
	}
	return s
}
