package images

import (
	"context"
	"log/slog"
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

func TestPreloader_WatchesADirectoryThatWasExchanged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	log := make(messages, 100)
	p := NewPreloader(dir, NewImporter(filepath.Join(t.TempDir(), "none.sock")), nil, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	try := func(name string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for again := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case line := <-log:
				if strings.Contains(line, name) {
					return
				}
			case <-again.C: // the directory may be made only now
				if f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
					f.Close()
				}
			case <-deadline:
				t.Fatalf("nobody looked at %s", name)
			}
		}
	}
	try("first.tar")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	try("second.tar")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	try("third.tar")
}
