package stats

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// restFactor bounds what walking costs: a directory is left alone for this many times as long as its last walk took, but
	// no longer than longestRest.
	restFactor  = 20
	longestRest = 10 * time.Minute
	// patience is how long a measurement waits for walks. One that takes longer goes on, and counts for the next.
	patience = 2 * time.Second
	// longestWalk bounds a walk: files that come and go as it reads can keep it busy for ever.
	longestWalk = 10 * time.Minute
	// atOnce is how many walks read at the same time, quantum how long one reads while others wait.
	atOnce  = 2
	quantum = 50 * time.Millisecond
	// keepFor is how long a directory is remembered that nobody asks for.
	keepFor = 10 * time.Minute
)

// walks remembers what directories held when they were walked last, and walks those that are due: the directories of one pod
// one after another, those of different pods beside each other. Nobody waits long for a walk: while it goes on, a directory
// holds what it held last, or what was counted so far if that is more.
//
//	refresh --due--> waiting --Run--> a goroutine of the pod: walk, walk ... --> rests, due again later
//	        <-- all done, or patience over
type walks struct {
	measure func(ctx context.Context, dir string, report func(Usage)) (Usage, error) // diskUsage
	wake    chan struct{}                                                            // to Run: something waits
	turns   chan struct{}                                                            // full: atOnce walks read

	mu      sync.Mutex
	waiting []round
	running map[types.UID]round
	dirs    map[string]*directory
}

// round is one pass over the directories of a pod that were due.
type round struct {
	pod   types.UID
	dirs  []string
	began time.Time
	done  chan struct{} // closed at the end
}

// directory is what is known of one.
type directory struct {
	last    Usage     // of the last walk
	counted Usage     // by the walk that goes on
	due     time.Time // not walked again before this
	asked   time.Time
}

func newWalks() *walks {
	return &walks{
		measure: diskUsage, wake: make(chan struct{}, 1), turns: make(chan struct{}, atOnce),
		running: map[types.UID]round{}, dirs: map[string]*directory{},
	}
}

// run does the walks until the context ends.
func (w *walks) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.mu.Lock()
		rounds := w.waiting
		w.waiting = nil
		w.mu.Unlock()
		for _, r := range rounds {
			running.Go(func() { w.round(ctx, r) })
		}
	}
}

// refresh has the directories of pods walked that are due, and waits until that is done or has taken too long.
func (w *walks) refresh(ctx context.Context, pods map[types.UID][]string) {
	now := time.Now()
	var rounds []round
	w.mu.Lock()
	for uid, dirs := range pods {
		if r, ok := w.begin(uid, dirs, now); ok {
			rounds = append(rounds, r)
		}
	}
	for path, d := range w.dirs {
		if now.Sub(d.asked) > keepFor {
			delete(w.dirs, path)
		}
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	for _, r := range rounds {
		over := time.NewTimer(time.Until(r.began.Add(patience)))
		select {
		case <-r.done:
		case <-over.C:
		case <-ctx.Done():
		}
		over.Stop()
	}
}

// begin finds the round that a pod is in, or puts a new one on the list of those that wait. There is none when nothing is due.
func (w *walks) begin(uid types.UID, dirs []string, now time.Time) (round, bool) {
	var due []string
	for _, path := range dirs {
		d := w.dirs[path]
		if d == nil {
			d = &directory{}
			w.dirs[path] = d
		}
		d.asked = now
		if !now.Before(d.due) {
			due = append(due, path)
		}
	}
	r, ok := w.running[uid]
	if !ok && len(due) > 0 {
		r, ok = round{pod: uid, dirs: due, began: now, done: make(chan struct{})}, true
		w.running[uid] = r
		w.waiting = append(w.waiting, r)
	}
	return r, ok
}

// usage is what a directory holds, as far as it is known.
func (w *walks) usage(dir string) Usage {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dirs[dir]
	if d == nil {
		return Usage{}
	}
	return d.last.most(d.counted)
}

func (w *walks) round(ctx context.Context, r round) {
	for _, dir := range r.dirs {
		w.walk(ctx, dir)
	}
	w.mu.Lock()
	delete(w.running, r.pod)
	w.mu.Unlock()
	close(r.done)
}

// walk measures one directory. It lets others read now and then.
func (w *walks) walk(ctx context.Context, dir string) {
	ctx, cancel := context.WithTimeout(ctx, longestWalk)
	defer cancel()
	t := turn{turns: w.turns}
	t.take(ctx)
	used, err := w.measure(ctx, dir, func(sofar Usage) {
		w.set(dir, func(d *directory) { d.counted = sofar })
		t.yield(ctx)
	})
	took := t.end()
	w.set(dir, func(d *directory) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it holds what was counted, and maybe more
			used = used.most(d.last)
		}
		*d = directory{last: used, due: time.Now().Add(min(restFactor*took, longestRest)), asked: d.asked}
	})
}

func (w *walks) set(dir string, change func(*directory)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.dirs[dir]; d != nil {
		change(d)
	}
}

// turn is the right of one walk to read, which it gives up when others wait for long enough.
type turn struct {
	turns chan struct{}
	held  bool
	since time.Time
	took  time.Duration
}

func (t *turn) take(ctx context.Context) {
	select {
	case t.turns <- struct{}{}:
		t.held = true
	case <-ctx.Done(): // the walk is about to end
	}
	t.since = time.Now()
}

func (t *turn) yield(ctx context.Context) {
	if time.Since(t.since) >= quantum {
		t.end()
		t.take(ctx)
	}
}

// end gives the turn back. It returns how long the walk has read in all.
func (t *turn) end() time.Duration {
	t.took += time.Since(t.since)
	if t.held {
		<-t.turns
		t.held = false
	}
	return t.took
}
