package cni

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// serve runs the node's server until the test ends and returns its socket.
func (w *world) serve() string {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "cni") // t.TempDir may be longer than a socket's path can be
	if err != nil {
		w.t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.node.Serve(ctx, socket); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() {
		cancel()
		wg.Wait()
		os.RemoveAll(dir)
	})
	await(w.t, "the server answers", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return socket
}

// await polls for what another process does.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("gave up waiting until %s", what)
			return
		}
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	await(t, path+" exists", func() bool { _, err := os.Stat(path); return err == nil })
}

func TestServe_CarriesRequestsAndErrors(t *testing.T) {
	w := newWorld(t)
	socket := w.serve()
	resp, err := Ask(t.Context(), socket, w.request("ADD", "c1"))
	if err != nil || resp.Error != nil {
		t.Fatal(err, resp.Error)
	}
	if got := resultIP(t, w.node.Do(t.Context(), Request{
		Command: "ADD", ContainerID: "c1", NetNS: w.netns, IfName: "eth0", Config: json.RawMessage(`{"cniVersion":"1.0.0"}`), Resume: true,
	})); got != "10.1.2.3/24" {
		t.Errorf("address %s", got)
	}
	w.touch("fail-del")
	resp, err = Ask(t.Context(), socket, w.request("DEL", "c1"))
	if err != nil || resp.Error == nil || !strings.Contains(resp.Error.Msg, "the device is busy") {
		t.Errorf("got %+v, %v; want the plugin's error", resp, err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestServe_RefusesAnOversizedRequest(t *testing.T) {
	w := newWorld(t)
	socket := w.serve()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte(`{"command":"ADD","args":"` + strings.Repeat("x", MaxRequest) + `"}`)) // the server may hang up
	var resp Response
	if err := json.NewDecoder(c).Decode(&resp); err == nil && (resp.Error == nil || !strings.Contains(resp.Error.Msg, "larger than")) {
		t.Errorf("got %+v", resp)
	}
	r := w.request("ADD", "c1")
	r.Args = strings.Repeat("x", MaxRequest)
	if _, err := Ask(t.Context(), socket, r); err == nil || errors.Is(err, ErrDown) || errors.Is(err, ErrDied) {
		t.Errorf("Ask sent an oversized request: %v", err)
	}
}

func TestServe_EndsTheWorkOfAPluginThatWasKilled(t *testing.T) {
	w := newWorld(t)
	socket := w.serve()
	w.touch("hang")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		awaitFile(t, w.state+"/hanging")
		cancel()
	})
	if _, err := Ask(ctx, socket, w.request("ADD", "c1")); err == nil || errors.Is(err, ErrDied) {
		t.Errorf("got %v, want the end of the caller's own context", err)
	}
	wg.Wait()
	await(t, "the attachment is undone", func() bool { return w.journalled() == nil })
}

func TestServe_OutlivesAShortageOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		n := &Node{cfg: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}}
		began, asked, served := time.Now(), 0, 0
		ctx, cancel := context.WithCancel(t.Context())
		err := n.accept(ctx, func() (*net.UnixConn, error) {
			asked++
			if time.Since(began) < time.Minute {
				return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)}
			}
			return &net.UnixConn{}, nil
		}, func(*net.UnixConn) {
			if served++; served == 3 {
				cancel()
			}
		})
		if err != nil || served != 3 || asked > 80 {
			t.Errorf("served %d connections of 3 in %d attempts: %v", served, asked, err)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("warned %d times:\n%s", n, &log)
		}
	})
}

func TestServe_TakesTheSocketOfADeadAgentOnly(t *testing.T) {
	w := newWorld(t)
	socket := w.serve()
	if err := w.node.Serve(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second server started: %v", err)
	}
	stale := filepath.Join(filepath.Dir(socket), "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Ask(t.Context(), stale, w.request("DEL", "c1")); !errors.Is(err, ErrDown) {
		t.Errorf("nobody listens on the socket: %v, want ErrDown", err)
	}
	if _, err := Ask(t.Context(), stale+"-absent", w.request("DEL", "c1")); !errors.Is(err, ErrDown) {
		t.Errorf("there is no socket: %v, want ErrDown", err)
	}
}

func TestAsk_SaysThatTheAgentDied(t *testing.T) {
	w := newWorld(t)
	dir, err := os.MkdirTemp("", "cni")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err == nil {
			_, err = readRequest(c)
			c.Close()
		}
		if err != nil {
			t.Error(err)
		}
	})
	if _, err := Ask(t.Context(), filepath.Join(dir, "s"), w.request("ADD", "c1")); !errors.Is(err, ErrDied) {
		t.Errorf("got %v, want ErrDied", err)
	}
	wg.Wait()
	l.Close()
}
