package feed

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// Taints are the Node's as the API server told them last, in a file: they hold while it is away.
type Taints struct {
	File string
	mu   sync.Mutex
}

func (t *Taints) last() (taints []v1.Taint) {
	b, err := os.ReadFile(t.File)
	if err == nil {
		err = json.Unmarshal(b, &taints)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("cannot read the node's last known taints", "err", err)
	}
	return taints
}

// Keep writes the Node's taints down when they are not what was written. What the node says before known is closed is not the
// API server's word. Several goroutines may call it.
func (t *Taints) Keep(known <-chan struct{}, node func() *v1.Node) {
	select {
	case <-known:
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now, err := json.Marshal(node().Spec.Taints)
	if err != nil {
		return
	}
	if old, err := os.ReadFile(t.File); err == nil && string(old) == string(now) {
		return
	}
	if err := atomicfile.Write(t.File, now, 0o600, atomicfile.None); err != nil {
		slog.Warn("cannot write the node's taints down", "err", err)
	}
}
