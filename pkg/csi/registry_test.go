package csi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// messages hands each line of a log on.
type messages chan string

func (m messages) Write(b []byte) (int, error) { m <- string(b); return len(b), nil }

func TestRun_WatchesARegistryThatWasExchanged(t *testing.T) {
	log := make(messages, 100)
	n, err := New(Config{Root: t.TempDir(), Log: slog.New(slog.NewTextHandler(log, nil)), RetryBackoff: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	dir := filepath.Join(n.cfg.Root, "plugins_registry")
	attended := func(name string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for again := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case line := <-log:
				if strings.Contains(line, name) {
					return
				}
			case <-again.C: // the directory may be made only now
				if l, err := net.Listen("unix", filepath.Join(dir, name)); err == nil {
					go func() { // a plugin that hangs up
						for {
							c, err := l.Accept()
							if err != nil {
								return
							}
							c.Close()
						}
					}()
					defer l.Close()
				}
			case <-deadline:
				t.Fatalf("nobody attends to %s", name)
			}
		}
	}
	attended("first.sock")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	attended("second.sock")
	if err := errors.Join(os.Rename(dir, dir+".old"), os.MkdirAll(dir, 0o750)); err != nil { // it is also made again meanwhile
		t.Fatal(err)
	}
	attended("third.sock")
}
