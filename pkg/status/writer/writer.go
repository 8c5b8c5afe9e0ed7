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
	held       = 9 * time.Second // longer than that while many pods come up: altogether as long as a kubelet may take
	refusedFor = time.Minute     // until a write that the API server calls invalid is tried again as it is
)

// API is what the writer needs of an API client.
type API interface {
	Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Patch(ctx context.Context, k kube.Key, patch []byte, into runtime.Object) error
	Delete(ctx context.Context, k kube.Key, o metav1.DeleteOptions) error
}

// Config is what a Writer needs.
type Config struct {
	API    API                       // nil: standalone, reports are dropped
	Queue  *kube.Queue               // with API: what writes; nothing is sent before it runs
	Node   func() *v1.Node           // owner of the mirror pods; they wait until it has a UID
	Synced func(after time.Duration) // counts a status that reached the API server, after it had changed; may be nil
	Log    *slog.Logger              // nil: slog.Default()
}

// Writer writes the status of pods. Its methods are safe for concurrent use and never wait for a request.
type Writer struct {
	cfg    Config
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
	dirty    bool      // status is to be sent: it was reported, or is no longer at the API server
	reported bool      // it was reported since it was sent
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

// New returns a writer that sends nothing before its queue runs.
func New(cfg Config) *Writer {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Writer{cfg: cfg, pods: map[types.UID]*entry{}, outage: kube.NewOutage(cfg.Log, "write pod status to the API server")}
}

// Report gives the status of a pod as it is now. The values are kept and must not be changed afterwards.
func (w *Writer) Report(p *v1.Pod, status v1.PodStatus) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entry(p)
	if e.changed.IsZero() {
		e.changed = time.Now()
	}
	switch {
	case status.Phase != v1.PodPending:
		e.calm = time.Time{}
	case !e.dirty:
		e.calm = time.Now().Add(gather)
	}
	e.status, e.dirty, e.reported, e.finished, e.notYet = status, true, true, false, earliest(e) // a static pod may come back under its UID
	w.offer(p.UID)
}

// Finished says that nothing of the pod is left on the node. A pod that is being deleted is then deleted for good, after
// its last status was written; of a static pod the mirror is.
func (w *Writer) Finished(p *v1.Pod) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entry(p)
	e.finished, e.notYet, e.calm = true, earliest(e), time.Time{}
	w.offer(p.UID)
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
	defer w.mu.Unlock()
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
	w.offerAll()
}

// Seen gives every version of a pod that the API server tells, mirror pods too. What others have changed of the status
// that is the node's is set right again.
func (w *Writer) Seen(p *v1.Pod) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	id := p.UID
	if pod.IsMirror(p) {
		for uid, s := range w.pods {
			if pod.IsStatic(s.pod) && pod.FullName(s.pod) == pod.FullName(p) {
				id = uid
			}
		}
	}
	if e := w.pods[id]; e != nil {
		e.learn(p)
		w.offer(id)
	}
}

// learn takes over a version of the pod that is newer than base: what it lacks is written again.
func (e *entry) learn(p *v1.Pod) {
	if e.busy {
		e.seen = p // the answer to the send tells whether it is news
		return
	}
	e.seen = nil
	if e.status.Phase != "" && e.baseVersion != "" && older(e.baseVersion, p.ResourceVersion) {
		e.base, e.baseVersion, e.dirty = p.Status, p.ResourceVersion, true
	}
}

// Static gives the names (namespace/name) of all static pods once every source of them was read, and again after each
// change. A mirror pod of none of them, left behind while the agent was down, is deleted.
func (w *Writer) Static(names []string) {
	if w.cfg.API == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statics = make(map[string]bool, len(names))
	for _, n := range names {
		w.statics[n] = true
	}
	w.offerAll()
}

// Poke makes the writer look again: the Node that owns the mirror pods is known, or is another.
func (w *Writer) Poke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offerAll()
}

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

// offer has what is to be sent for a pod written. It and those below are called with the lock held.
func (w *Writer) offer(id types.UID) {
	e := w.pods[id]
	if e.busy || !w.due(e) {
		return
	}
	write := kube.Write{Urgency: kube.Change, At: later(e.notYet, e.changed), Do: func(ctx context.Context) { w.begin(ctx, id) }}
	switch {
	case e.calm.After(e.notYet) && !e.finished:
		write.Urgency, write.At, write.Held = kube.Progress, e.calm, held
	case !e.reported && !e.finished:
		write.Urgency = kube.Refresh
	}
	w.cfg.Queue.Put("status/"+string(id), write)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *Writer) offerAll() {
	w.adoptOrphans()
	for id := range w.pods {
		w.offer(id)
	}
}

// begin sends for a pod.
func (w *Writer) begin(ctx context.Context, id types.UID) {
	w.mu.Lock()
	e := w.pods[id]
	if e == nil || !w.due(e) {
		w.mu.Unlock()
		return
	}
	e.busy = true
	job := *e
	e.dirty, e.reported, e.changed = false, false, time.Time{}
	w.mu.Unlock()
	err := w.send(ctx, &job)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done(id, &job, err)
	if w.pods[id] != nil {
		w.offer(id)
	}
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
	e.dirty, e.reported = e.dirty || job.dirty, e.reported || job.reported
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

// back says that the API server takes what it is sent. What waits because it did not waits no longer.
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
	w.offerAll()
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
