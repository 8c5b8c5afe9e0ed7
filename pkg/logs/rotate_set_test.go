package logs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// As many logs are rotated at once as there are workers: each waits here for the others. The size is the one set last.
func TestRotator_RotatesWithItsWorkersAtTheSizeSetLast(t *testing.T) {
	const workers = 3
	root := t.TempDir()
	var together sync.WaitGroup
	together.Add(workers)
	r := NewRotator(RotateConfig{
		Root: root, Workers: workers, Log: slog.New(slog.DiscardHandler),
		Running: func(_ context.Context, uid, _ string, _ uint32) (string, error) {
			together.Done()
			together.Wait()
			return uid, nil
		},
		Reopen: func(_ context.Context, uid string) error {
			return os.WriteFile(filepath.Join(root, "ns_web_"+uid, "main", "0.log"), nil, 0o640)
		},
	})
	for i := range workers {
		writeLog(t, filepath.Join(root, fmt.Sprintf("ns_web_uid%d", i), "main", "0.log"), strings.Repeat("x", 60))
	}
	if err := r.pass(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	r.Set(50, 2)
	if err := r.pass(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	rotated, err := filepath.Glob(filepath.Join(root, "*", "main", "0.log.*"))
	if err != nil || len(rotated) != workers {
		t.Errorf("rotated %q, %v, want a log of each container", rotated, err)
	}
}
