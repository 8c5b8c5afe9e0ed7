package feed

import (
	"errors"
	"io/fs"
	"log/slog"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/minikubelet/minikubelet/pkg/book"
)

// Taints are the Node's as the API server told them last, in a file: they hold while it is away.
type Taints struct {
	File string
	book book.Book[[]v1.Taint]
	mu   sync.Mutex
}

func (t *Taints) last() []v1.Taint {
	taints, err := t.book.Get(t.File)
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
	now := node().Spec.Taints
	if old, err := t.book.Get(t.File); err == nil && equality.Semantic.DeepEqual(old, now) {
		return
	}
	if err := t.book.Put(t.File, now); err != nil {
		slog.Warn("cannot write the node's taints down", "err", err)
	}
}
