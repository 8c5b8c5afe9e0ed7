package limit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hijacked is a request's connection that a handler takes over.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }

// A stream on which something goes in either direction lives on; a silent one is cut.
func TestIdle_CutsSilentStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		began := time.Now()
		go Idle(time.Minute, func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			b := make([]byte, 1)
			for range 10 {
				if _, err := c.Read(b); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(40 * time.Second)
				if _, err := c.Write(b); err != nil {
					t.Error(err)
					return
				}
			}
			_, err = c.Read(b)
			if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
				t.Errorf("the silent stream ended with %v", err)
			}
			if d := cmp.Diff(10*80*time.Second+time.Minute-40*time.Second, time.Since(began)); d != "" {
				t.Error(d)
			}
		})(hijacked{conn: near}, nil)
		b := make([]byte, 1)
		for i := range 10 {
			if i > 0 {
				time.Sleep(40 * time.Second)
			}
			if _, err := far.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(far, b); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		time.Sleep(time.Hour)
	})
}

// pipes is a listener whose connections are made by dial.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

func TestGate_LetsFewStrangersInAndMoreOfWhomItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := make(pipes, 10)
		g := NewGate(l, 3, 2)
		var in []net.Conn
		done := make(chan error, 1)
		go func() {
			for {
				c, err := g.Accept()
				if err != nil {
					done <- err
					return
				}
				in = append(in, c)
			}
		}()
		for range 6 {
			near, _ := net.Pipe()
			l <- near
		}
		step := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if len(in) != want {
				t.Errorf("%s: %d were let in, want %d", what, len(in), want)
			}
		}
		vouch := func(c net.Conn) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			Vouch(r.WithContext(ConnContext(r.Context(), c)))
		}
		step("strangers", 2)
		vouch(in[0])
		vouch(in[0])
		step("one is known", 3)
		vouch(in[1])
		step("as many as there are places", 3)
		in[0].Close()
		step("one left", 4)
		in[2].Close()
		step("a stranger left", 5)
		g.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener ended with %v", err)
		}
	})
}

func TestBody_IsShortAndSoon(t *testing.T) {
	handled := 0
	s := httptest.NewServer(Body(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled++ })))
	defer s.Close()
	for body, want := range map[string]int{"": 200, "{}": 200, strings.Repeat("x", maxBody+1): 413} {
		resp, err := http.Post(s.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("a body of %d bytes: %d, want %d", len(body), resp.StatusCode, want)
		}
	}
	if handled != 2 {
		t.Errorf("%d requests were handled, want 2", handled)
	}
}

func TestTurns_AreWaitedForOrRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, leave := make(Turns, 2), make(chan struct{})
		var entered atomic.Int32
		slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered.Add(1); <-leave })
		for range 3 {
			go turns.Wait(slow)(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		turns.Refuse("busy", slow)(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if entered.Load() != 2 || w.Code != http.StatusTooManyRequests {
			t.Errorf("%d entered, the refused one got %d", entered.Load(), w.Code)
		}
		leave <- struct{}{}
		synctest.Wait()
		if entered.Load() != 3 {
			t.Errorf("%d entered after one left, want 3", entered.Load())
		}
		close(leave)
	})
}
