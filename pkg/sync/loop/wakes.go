package loop

import (
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Wakes wake the loops of pods. They are made before the Set whose loops they wake, and before all that the loops work with,
// which tells its news through them.
type Wakes struct {
	mu    sync.Mutex
	loops map[types.UID]*loop
}

// NewWakes makes wakes that wake nobody yet.
func NewWakes() *Wakes { return &Wakes{loops: map[types.UID]*loop{}} }

func (w *Wakes) add(l *loop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loops[l.uid] = l
}

// remove leaves a later loop of the same pod.
func (w *Wakes) remove(l *loop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loops[l.uid] == l {
		delete(w.loops, l.uid)
	}
}

// of are the loop of a pod, or all when uid is empty.
func (w *Wakes) of(uid types.UID) []*loop {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uid == "" {
		return slices.Collect(maps.Values(w.loops))
	}
	if l := w.loops[uid]; l != nil {
		return []*loop{l}
	}
	return nil
}

// Poke has the loop of a pod look again.
func (w *Wakes) Poke(uid types.UID) {
	for _, l := range w.of(uid) {
		l.poke(false)
	}
}

// Changed says that the runtime has something new of a pod, or of every pod when uid is empty, since a time; zero stands
// for a time that is not known. A loop that has looked since then knows it.
func (w *Wakes) Changed(uid types.UID, at time.Time) {
	for _, l := range w.of(uid) {
		l.changed(at)
	}
}

// Retry lets a pod mount and refresh volumes, pull images and start containers again at once, whatever their backoff: an
// object that it names has come or changed.
func (w *Wakes) Retry(uid types.UID) {
	for _, l := range w.of(uid) {
		l.again()
	}
}

// RetryAll is Retry for each pod that something new may concern.
func (w *Wakes) RetryAll(concerned func(*v1.Pod) bool) {
	for _, l := range w.of("") {
		if concerned(l.desired.Load().Pod) {
			l.again()
		}
	}
}
