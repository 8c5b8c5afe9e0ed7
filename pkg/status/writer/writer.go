package writer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
	// gather is how long the status of a pod that is coming up may wait: most pods run before it is over, and an API server
	// that takes a hundred pods at once has two writes for each of them and not three or four.
	gather     = time.Second
	gatherBusy = 10 * time.Second // where many pods wait for their turn: as long as a kubelet may take
	refusedFor = time.Minute      // until a write that the API server calls invalid is tried again as it is
)

// API is what the writer needs of an API client.
type API interface {
	Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Patch(ctx context.Context, k kube.Key, patch []byte, into runtime.Object) error
	Delete(ctx context.Context, k kube.Key, o metav1.DeleteOptions) error
}

// Config is what a Writer needs.
type Config struct {
	API      API                       // nil: standalone, reports are dropped
	Node     func() *v1.Node           // owner of the mirror pods; they wait until it has a UID
	Parallel int                       // requests at once; 0: 8
	Busy     func() bool               // many pods are coming up; nil: never
	Synced   func(after time.Duration) // counts a status that reached the API server, after it had changed; may be nil
	Log      *slog.Logger              // nil: slog.Default()
}

// Writer writes the status of pods. Its methods are safe for concurrent use and never wait for a request.
type Writer struct {
	cfg    Config
	wake   chan struct{}
	outage *kube.Outage

	mu      sync.Mutex
	pods    map[types.UID]*entry
	mirrors map[string]*v1.Pod // by namespace/name; nil until the API server has told them
	statics map[string]bool    // namespace/name of every static pod; nil until the sources have told them
}

// entry is what is known of one pod. While busy is set, only the sender changes base and gone.
type entry struct {
	pod      *v1.Pod
	status   v1.PodStatus
	changed  time.Time // the first report that is not at the API server; zero: none
	dirty    bool      // status was reported and not sent
	finished bool
	busy     bool
	gone     bool   // the API server has no such pod
	refused  bool   // the last send was, by an API server that is there
	said     string // the last refusal that was logged
	retry    time.Duration
	notYet   time.Time
	calm     time.Time // a status on the way to another one waits until then

	base        v1.PodStatus // as the API server has it
	baseVersion string       // resource version of base; empty: base is not known
	seen        *v1.Pod      // told by the watch during a send
}

// New returns a writer that sends nothing before Run.
func New(cfg Config) *Writer {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 8
	}
	return &Writer{
		cfg: cfg, wake: make(chan struct{}, 1), pods: map[types.UID]*entry{},
		outage: kube.NewOutage(cfg.Log, "write pod status to the API server"),
	}
}

// Report gives the status of a pod as it is now. The values are kept and must not be changed afterwards.
func (w *Writer) Report(p *v1.Pod, status v1.PodStatus) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	e := w.entry(p)
	if e.changed.IsZero() {
		e.changed = time.Now()
	}
	switch {
	case status.Phase != v1.PodPending:
		e.calm = time.Time{}
	case !e.dirty:
		e.calm = time.Now().Add(w.patience())
	}
	e.status, e.dirty, e.finished, e.notYet = status, true, false, earliest(e) // a static pod may come back under its UID
	w.mu.Unlock()
	w.kick()
}

// patience is how long the status of a pod that comes up may wait for what follows it.
func (w *Writer) patience() time.Duration {
	if w.cfg.Busy != nil && w.cfg.Busy() {
		return gatherBusy
	}
	return gather
}

// Finished says that nothing of the pod is left on the node. A pod that is being deleted is then deleted for good, after
// its last status was written; of a static pod the mirror is.
func (w *Writer) Finished(p *v1.Pod) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	e := w.entry(p)
	e.finished, e.notYet, e.calm = true, earliest(e), time.Time{}
	w.mu.Unlock()
	w.kick()
}

// earliest lets a new report through at once after a refusal, which it may answer, but not during an outage.
func earliest(e *entry) time.Time {
	if e.refused && e.retry == refusedFor {
		e.retry = 0
		return time.Time{}
	}
	return e.notYet
}

// Mirrors gives every mirror pod that the API server has for this node, after each change there.
func (w *Writer) Mirrors(pods []*v1.Pod) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	old := w.mirrors
	w.mirrors = make(map[string]*v1.Pod, len(pods))
	for _, p := range pods {
		if pod.IsMirror(p) {
			w.mirrors[pod.FullName(p)] = p
		}
	}
	for _, e := range w.pods { // one that was deleted or edited is made again
		if name := pod.FullName(e.pod); pod.IsStatic(e.pod) && (old == nil || uid(old[name]) != uid(w.mirrors[name]) || doomed(w.mirrors[name])) {
			e.dirty = true
		}
	}
	w.mu.Unlock()
	w.kick()
}

// Seen gives every version of a pod that the API server tells, mirror pods too. What others have changed of the status
// that is the node's is set right again.
func (w *Writer) Seen(p *v1.Pod) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	e := w.pods[p.UID]
	if pod.IsMirror(p) {
		for _, s := range w.pods {
			if pod.IsStatic(s.pod) && pod.FullName(s.pod) == pod.FullName(p) {
				e = s
			}
		}
	}
	drifted := e != nil && e.learn(p)
	w.mu.Unlock()
	if drifted {
		w.kick()
	}
}

// learn takes over a version of the pod that is newer than base, and reports whether it must be written again.
func (e *entry) learn(p *v1.Pod) bool {
	if e.busy {
		e.seen = p // the answer to the send tells whether it is news
		return false
	}
	e.seen = nil
	if e.status.Phase == "" || e.baseVersion == "" || !older(e.baseVersion, p.ResourceVersion) {
		return false
	}
	e.base, e.baseVersion, e.dirty = p.Status, p.ResourceVersion, true
	return true
}

// Static gives the names (namespace/name) of all static pods once every source of them was read, and again after each
// change. A mirror pod of none of them, left behind while the agent was down, is deleted.
func (w *Writer) Static(names []string) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	w.statics = make(map[string]bool, len(names))
	for _, n := range names {
		w.statics[n] = true
	}
	w.mu.Unlock()
	w.kick()
}

// Poke makes the writer look again: the Node that owns the mirror pods is known, or is another.
func (w *Writer) Poke() { w.kick() }

func uid(p *v1.Pod) types.UID {
	if p == nil {
		return ""
	}
	return p.UID
}

func doomed(p *v1.Pod) bool { return p != nil && p.DeletionTimestamp != nil }

// entry is called with the lock held.
func (w *Writer) entry(p *v1.Pod) *entry {
	e := w.pods[p.UID]
	if e == nil {
		e = &entry{}
		w.pods[p.UID] = e
	}
	e.pod = p
	if !e.busy && !pod.IsStatic(p) && (e.baseVersion == "" || older(e.baseVersion, p.ResourceVersion)) {
		e.base, e.baseVersion = p.Status, p.ResourceVersion
	}
	return e
}

// older compares resource versions, which are numbers that grow.
func older(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func (w *Writer) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run sends until the context ends and returns when no request is under way any more.
func (w *Writer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, w.cfg.Parallel)
	for ctx.Err() == nil {
		next := w.start(ctx, &wg, slots)
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// start sends for every pod that is due while there are slots, and returns how long nothing else is due.
func (w *Writer) start(ctx context.Context, wg *sync.WaitGroup, slots chan struct{}) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.adoptOrphans()
	now, next := time.Now(), time.Hour
	for id, e := range w.pods {
		if e.busy || !w.due(e) {
			continue
		}
		if d := max(e.notYet.Sub(now), e.calm.Sub(now)); d > 0 {
			next = min(next, d)
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			return next // a slot that gets free wakes
		}
		e.busy = true
		job := *e
		e.dirty, e.changed = false, time.Time{}
		wg.Go(func() {
			err := w.send(ctx, &job)
			<-slots
			w.done(id, &job, err)
		})
	}
	return next
}

// due reports whether there is something to send that can be sent now.
func (w *Writer) due(e *entry) bool {
	if pod.IsStatic(e.pod) && (w.mirrors == nil || w.cfg.Node().UID == "") {
		return false
	}
	return e.dirty && !e.gone || e.finished
}

// done files the outcome of a send.
func (w *Writer) done(id types.UID, job *entry, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.kick()
	e := w.pods[id]
	e.busy = false
	e.base, e.baseVersion, e.gone = job.base, job.baseVersion, job.gone
	if e.seen != nil {
		e.learn(e.seen)
	}
	if err == nil {
		w.back()
		e.refused, e.retry, e.notYet, e.said = false, 0, time.Time{}, ""
		if w.cfg.Synced != nil && !job.changed.IsZero() && job.dirty {
			w.cfg.Synced(time.Since(job.changed))
		}
		switch {
		case job.finished && e.finished:
			delete(w.pods, id)
		case job.finished: // it came back meanwhile: what was deleted is made again
			e.baseVersion = ""
		}
		return
	}
	e.dirty = e.dirty || job.dirty
	if !job.changed.IsZero() {
		e.changed = job.changed
	}
	was := e.retry
	if e.refused != refused(err) {
		e.refused, was = !e.refused, 0 // how long the API server was away says nothing of how long it will refuse
	}
	e.retry = retryAfter(was, err)
	if !e.refused {
		w.outage.Failed(err)
	} else if said := err.Error(); said != e.said {
		e.said = said
		w.cfg.Log.Error("cannot show the pod at the API server, which refuses it; the pod is not affected",
			"pod", pod.FullName(e.pod), "uid", id, "error", err)
	}
	e.notYet = time.Now().Add(wait.Jitter(e.retry, 0.5))
}

// back says that the API server takes what it is sent. What waits because it did not waits no longer. It is called with the
// lock held.
func (w *Writer) back() {
	if kind, _, _ := w.outage.Now(); kind == "" {
		return
	}
	w.outage.OK()
	for _, e := range w.pods {
		if !e.refused {
			e.retry, e.notYet = 0, time.Time{}
		}
	}
}

// retryAfter is how long a send waits after one that failed, which had waited for was. What is invalid has a report to wait
// for; what is forbidden may be allowed without one: a right, a quota, a new cluster's priority classes may come.
func retryAfter(was time.Duration, err error) time.Duration {
	longer := max(2*was, firstRetry)
	switch {
	case apierrors.IsForbidden(err):
		return min(longer, refusedFor)
	case refused(err):
		return refusedFor
	default:
		return min(longer, lastRetry)
	}
}
