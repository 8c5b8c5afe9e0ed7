package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// API is what the node needs of an API client.
type API interface {
	Get(ctx context.Context, k kube.Key, into runtime.Object) error
	Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Update(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Patch(ctx context.Context, k kube.Key, patch []byte, into runtime.Object) error
}

// Config is what an Agent needs.
type Config struct {
	API          API         // nil: standalone, nothing is written
	Watch        kube.Lister // with API: the client that watches the Node
	Register     bool
	Registration Registration
	Facts        Facts
	UpdateEvery  time.Duration // nodeStatusUpdateFrequency; 0: 10 s
	ReportEvery  time.Duration // nodeStatusReportFrequency; 0: 5 min
	Lease        time.Duration // nodeLeaseDurationSeconds; 0: 40 s; renewed four times in that
	Log          *slog.Logger  // nil: slog.Default()
}

// With is what an Agent runs with: parts that are made after it, as they want to know the Node.
type With struct {
	Observe func(context.Context) Observation
	Drivers func() []storagev1.CSINodeDriver // nil: the node has no CSI drivers
	Changed func()                           // called after every change of Node() and Told(); must not block; may be nil
	Event   func(News)                       // takes what the status says newly; may be nil
}

// Agent keeps one Node true. Its methods are safe for concurrent use.
type Agent struct {
	cfg   Config
	with  With // from Run on
	poke  chan struct{}
	fails failures
	slow  *slowness
	known chan struct{}
	tell  func() // closes known

	mu     sync.Mutex
	node   *v1.Node // as last seen at, or written to, the API server; standalone, as last computed
	listed bool     // the API server has said whether the Node exists

	// Of the goroutine of Run alone.
	adopted   types.UID // the Node whose labels were made right
	written   time.Time // when the status was last written
	csiWanted string
}

// failures are those of what the agent does at the API server.
type failures struct{ writing, watching, leasing *kube.Outage }

// New returns an agent that does nothing before Run.
func New(cfg Config) *Agent {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	for d, v := range map[*time.Duration]time.Duration{
		&cfg.UpdateEvery: 10 * time.Second, &cfg.ReportEvery: 5 * time.Minute, &cfg.Lease: 40 * time.Second,
	} {
		if *d == 0 {
			*d = v
		}
	}
	known := make(chan struct{})
	a := &Agent{
		cfg: cfg, poke: make(chan struct{}, 1), known: known, tell: sync.OnceFunc(func() { close(known) }),
		fails: failures{
			writing:  kube.NewOutage(cfg.Log, "keep the Node at the API server up to date"),
			watching: kube.NewOutage(cfg.Log, "watch the Node at the API server"),
			leasing:  kube.NewOutage(cfg.Log, "renew the node's lease"),
		},
		slow: &slowness{log: cfg.Log},
		node: cfg.Registration.New(cfg.Facts, v1.NodeStatus{}),
	}
	return a
}

// Poke makes the agent look again now: an observation has changed.
func (a *Agent) Poke() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// Node is the Node as the agent knows it. The value is shared: read only. Its UID is empty until an API server has told it.
// What pods may use is there from the first moment on, also when the API server is away or has a Node without a status:
// pods are admitted by it.
func (a *Agent) Node() *v1.Node {
	n := a.held()
	if len(n.Status.Allocatable) > 0 {
		return n
	}
	capacity := a.cfg.Facts.Machine.capacity(a.cfg.Facts.MaxPods)
	allocatable, err := Allocatable(capacity, a.cfg.Facts.Reserved)
	if err != nil {
		return n // the pass tells it
	}
	n = n.DeepCopy()
	n.Status.Capacity, n.Status.Allocatable = capacity, allocatable
	return n
}

// The conditions that Told alone has: Unavailable while the API server cannot be used, with a reason that says in which way;
// else Slow while it answers late.
const (
	Unavailable v1.NodeConditionType = "APIServerUnavailable"
	Slow        v1.NodeConditionType = "APIServerSlow"
)

// Told is Node for the person at the node, who alone can be told that the API server is away, or slow, and why.
func (a *Agent) Told() *v1.Node {
	c := v1.NodeCondition{Status: v1.ConditionTrue}
	kind, what, since := a.fails.watching.Now()
	if kind == "" {
		kind, what, since = a.fails.leasing.Now()
	}
	if kind != "" {
		c.Type, c.Reason, c.Message = Unavailable, strings.ToUpper(kind[:1])+kind[1:], what
	} else if what, since = a.slow.now(); what != "" {
		c.Type, c.Reason, c.Message = Slow, "AnswersLate", what
	} else {
		return a.Node()
	}
	c.LastHeartbeatTime = metav1.NewTime(since.Truncate(time.Second))
	c.LastTransitionTime = c.LastHeartbeatTime
	n := a.Node().DeepCopy()
	n.Status.Conditions = slices.Insert(n.Status.Conditions, 0, c)
	return n
}

// held is the Node as the API server, or the last pass without one, has it.
func (a *Agent) held() *v1.Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node
}

// Known is closed once the API server has told the Node: its labels decide which pods may run.
func (a *Agent) Known() <-chan struct{} { return a.known }

// Run registers the Node and keeps its status, lease and CSINode until the context ends.
func (a *Agent) Run(ctx context.Context, with With) {
	a.with = with
	a.slow.changed, a.fails.watching.Changed, a.fails.leasing.Changed = with.Changed, with.Changed, with.Changed
	var wg sync.WaitGroup
	defer wg.Wait()
	if a.cfg.API != nil {
		f := kube.Follow{
			Client: a.cfg.Watch, Key: kube.Key{Resource: kube.Nodes}, Selector: "metadata.name=" + a.cfg.Registration.Name,
			NewList: func() runtime.Object { return &v1.NodeList{} },
			To:      seen{a},
		}
		wg.Go(func() { f.Run(ctx) })
		l := lease{api: a.cfg.API, name: a.cfg.Registration.Name, length: a.cfg.Lease, node: a.Node, outage: a.fails.leasing, slow: a.slow}
		wg.Go(func() { l.run(ctx) })
	}
	const firstRetry = 500 * time.Millisecond
	retry := kube.Backoff(firstRetry, a.cfg.UpdateEvery)
	for ctx.Err() == nil {
		wait := a.cfg.UpdateEvery
		if err := a.pass(ctx); err != nil && ctx.Err() == nil {
			a.fails.writing.Failed(err)
			wait = min(wait, retry.Step())
		} else {
			a.fails.writing.OK()
			retry = kube.Backoff(firstRetry, a.cfg.UpdateEvery)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.poke:
		case <-t.C:
		}
		t.Stop()
	}
}

// pass computes the status once and brings the API server's Node up to it.
func (a *Agent) pass(ctx context.Context) error {
	now := time.Now()
	a.mu.Lock()
	n, listed := a.node, a.listed
	a.mu.Unlock()
	status, err := Status(n.Status, a.cfg.Facts, a.with.Observe(ctx), now)
	if err != nil {
		return err
	}
	switch {
	case a.cfg.API == nil:
		before := n.Status
		n = n.DeepCopy()
		n.Status = status
		a.know(n)
		a.tellNews(before, status)
		return nil
	case !listed:
		a.suppose(n, status)
		return nil // the watch pokes as soon as it knows
	case n.UID == "":
		if n, err = a.register(ctx, status); err != nil || n == nil {
			return err
		}
	}
	return errors.Join(a.adopt(ctx, n), a.report(ctx, status, now), a.csiNode(ctx))
}

// suppose keeps what the agent itself sees for as long as the API server has not told the Node.
func (a *Agent) suppose(n *v1.Node, status v1.NodeStatus) {
	n = n.DeepCopy()
	n.Status = status
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.listed {
		a.node = n
	}
}

// register creates the Node. A nil Node without an error means that the agent is told not to.
func (a *Agent) register(ctx context.Context, status v1.NodeStatus) (*v1.Node, error) {
	name := a.cfg.Registration.Name
	if !a.cfg.Register {
		return nil, fmt.Errorf("cannot report as node %s: it does not exist and registerNode is false: create it, or let the agent register", name)
	}
	n := &v1.Node{}
	err := a.cfg.API.Create(ctx, kube.Key{Resource: kube.Nodes}, a.cfg.Registration.New(a.cfg.Facts, status), n)
	switch {
	case err == nil:
		a.cfg.Log.Info("registered the node", "node", name)
		a.adopted, a.written = n.UID, time.Now()
		a.tellNews(v1.NodeStatus{}, status)
	case apierrors.IsAlreadyExists(err):
		if err := a.cfg.API.Get(ctx, kube.Key{Resource: kube.Nodes, Name: name}, n); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	a.know(n)
	return n, nil
}

// adopt makes the labels of a Node right that this process has not created or adopted yet.
func (a *Agent) adopt(ctx context.Context, n *v1.Node) error {
	if a.adopted == n.UID {
		return nil
	}
	patch, err := a.cfg.Registration.Adopt(n, a.cfg.Facts)
	if err != nil {
		return err
	}
	if patch != nil {
		if err := a.patch(ctx, "", patch); err != nil {
			return err
		}
	}
	a.cfg.Log.Info("adopted the node that was registered before", "node", n.Name)
	a.adopted = n.UID
	return nil
}

// report writes the status when it has changed, and as a sign of life every ReportEvery.
func (a *Agent) report(ctx context.Context, status v1.NodeStatus, now time.Time) error {
	n := a.held()
	if !changed(n.Status, status) && now.Sub(a.written) < a.cfg.ReportEvery {
		return nil
	}
	patch, err := kube.StatusPatch(n.UID, n.Status, status)
	if err != nil || patch == nil {
		return err
	}
	if err := a.patch(ctx, "status", patch); err != nil {
		return err
	}
	a.written = now
	a.tellNews(n.Status, status)
	return nil
}

// tellNews is called once a status is written, so that nothing is told twice.
func (a *Agent) tellNews(old, now v1.NodeStatus) {
	if a.with.Event == nil {
		return
	}
	for _, e := range news(a.cfg.Registration.Name, old, now) {
		a.with.Event(e)
	}
}

func (a *Agent) patch(ctx context.Context, sub string, patch []byte) error {
	n := &v1.Node{}
	if err := a.cfg.API.Patch(ctx, kube.Key{Resource: kube.Nodes, Name: a.cfg.Registration.Name, Sub: sub}, patch, n); err != nil {
		return err
	}
	a.know(n)
	return nil
}

// know keeps a version of the Node. A watch and a write may answer in any order: of one Node, the older version loses.
func (a *Agent) know(n *v1.Node) {
	n.ManagedFields = nil
	a.mu.Lock()
	stale := a.node.UID == n.UID && newer(a.node, n)
	if a.listed = true; !stale { // at once: a Node that was told and is not known yet would be registered again
		a.node = n
	}
	if n.UID != "" {
		a.tell()
	}
	a.mu.Unlock()
	if !stale && a.with.Changed != nil {
		a.with.Changed()
	}
}

// newer compares resource versions, which are numbers that grow (KEP-5504).
func newer(a, b metav1.Object) bool {
	x, y := a.GetResourceVersion(), b.GetResourceVersion()
	if len(x) != len(y) {
		return len(x) > len(y)
	}
	return x > y
}

// seen is told what the API server has of the Node.
type seen struct{ *Agent }

func (s seen) Connected()       { s.fails.watching.OK() }
func (s seen) Failed(err error) { s.fails.watching.Failed(err) }

func (s seen) Replace(objects []runtime.Object) {
	if len(objects) == 0 {
		s.gone()
		return
	}
	s.Apply(watch.Modified, objects[0])
}

func (s seen) Apply(kind watch.EventType, obj runtime.Object) {
	n, ok := obj.(*v1.Node)
	if !ok {
		return
	}
	if kind == watch.Deleted {
		s.cfg.Log.Warn("the Node was deleted at the API server: it is registered again", "node", n.Name)
		s.gone()
		return
	}
	before := s.held()
	s.know(n)
	if before.UID != n.UID || changed(before.Status, n.Status) {
		s.Poke()
	}
}

func (s seen) gone() {
	s.know(s.cfg.Registration.New(s.cfg.Facts, v1.NodeStatus{}))
	s.Poke()
}
