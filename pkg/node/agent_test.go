package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/node"
)

// server keeps one Node and one lease and counts the requests, by verb and resource.
type server struct {
	mu     sync.Mutex
	away   bool
	late   time.Duration // what is asked of it is done at once and answered later
	node   *v1.Node
	lease  *coordinationv1.Lease
	leased []time.Time
	made   int
	count  map[string]int
	watch  *watch.FakeWatcher
}

func (s *server) call(verb string, k kube.Key) error {
	s.count[fmt.Sprintf("%s %s", verb, k.Resource[strings.LastIndexByte(string(k.Resource), '/')+1:])]++
	if s.away {
		return errors.New("connection refused")
	}
	return nil
}

// answer returns when the answer to a request is there, or the requester has gone.
func (s *server) answer(ctx context.Context, err error) error {
	s.mu.Lock()
	late := s.late
	s.mu.Unlock()
	t := time.NewTimer(late)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return err
	}
}

func (s *server) List(_ context.Context, k kube.Key, _ metav1.ListOptions, into runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil {
		into.(*v1.NodeList).Items = []v1.Node{*s.node}
	}
	return s.call("list", k)
}

func (s *server) Watch(context.Context, kube.Key, metav1.ListOptions) (watch.Interface, error) {
	s.watch = watch.NewFake()
	return s.watch, nil
}

func (s *server) Get(ctx context.Context, k kube.Key, into runtime.Object) error {
	return s.answer(ctx, s.get(k, into))
}

func (s *server) get(k kube.Key, into runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.Resource == kube.Leases && s.lease != nil {
		s.lease.DeepCopyInto(into.(*coordinationv1.Lease))
		return s.call("get", k)
	}
	if k.Resource == kube.Nodes && s.node != nil {
		s.node.DeepCopyInto(into.(*v1.Node))
		return s.call("get", k)
	}
	return errors.Join(s.call("get", k), apierrors.NewNotFound(schema.GroupResource{}, k.Name))
}

func (s *server) Create(_ context.Context, k kube.Key, obj, into runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call("create", k); err != nil {
		return err
	}
	switch o := obj.(type) {
	case *v1.Node:
		if s.node != nil {
			return apierrors.NewAlreadyExists(schema.GroupResource{}, o.Name)
		}
		s.made++
		s.node = o.DeepCopy()
		s.node.UID, s.node.ResourceVersion = "uid", "1"
		s.node.DeepCopyInto(into.(*v1.Node))
	case *coordinationv1.Lease:
		s.lease = o.DeepCopy()
	}
	return nil
}

func (s *server) Update(ctx context.Context, k kube.Key, obj, into runtime.Object) error {
	return s.answer(ctx, s.update(k, obj, into))
}

func (s *server) update(k kube.Key, obj, into runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call("update", k); err != nil {
		return err
	}
	next := obj.(*coordinationv1.Lease).DeepCopy()
	switch {
	case s.lease == nil:
		return apierrors.NewNotFound(schema.GroupResource{}, k.Name)
	case next.ResourceVersion != s.lease.ResourceVersion:
		return apierrors.NewConflict(schema.GroupResource{}, k.Name, errors.New("it has changed"))
	}
	next.ResourceVersion += "I"
	s.lease, s.leased = next, append(s.leased, time.Now())
	next.DeepCopyInto(into.(*coordinationv1.Lease))
	return nil
}

func (s *server) Patch(_ context.Context, k kube.Key, patch []byte, into runtime.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := json.Marshal(s.node)
	if err != nil {
		return err
	}
	patched, err := strategicpatch.StrategicMergePatch(old, patch, v1.Node{})
	if err != nil {
		return err
	}
	s.node = &v1.Node{}
	if err := json.Unmarshal(patched, s.node); err != nil {
		return err
	}
	s.node.DeepCopyInto(into.(*v1.Node))
	k.Resource += Resource(k.Sub)
	return s.call("patch", k)
}

// Resource marks a subresource in the counts.
func Resource(sub string) kube.Resource { return kube.Resource("." + sub) }

func run(t *testing.T, s *server, cfg node.Config, with node.With) *node.Agent {
	t.Helper()
	cfg.Register = true
	return runAs(t, s, cfg, with)
}

func runAs(t *testing.T, s *server, cfg node.Config, with node.With) *node.Agent {
	t.Helper()
	s.count = map[string]int{}
	cfg.API, cfg.Watch = s, s
	cfg.Registration.Name = "n1"
	cfg.Facts = node.Facts{Hostname: "n1", IPs: addrs("192.0.2.7"), MaxPods: 110}
	if with.Observe == nil {
		with.Observe = func(context.Context) node.Observation { return node.Observation{} }
	}
	a := node.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.Run(ctx, with) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return a
}

func (s *server) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[what]
}

func TestAgent_RenewsTheLeaseNoMoreOftenWhileNobodyHasMadeItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		runAs(t, s, node.Config{}, node.With{})
		pass(10 * time.Minute)
		if n := s.times("create leases") + s.times("update leases"); n < 60 || n > 70 {
			t.Errorf("%d renewals in 10 minutes, want one each 10 s", n)
		}
	})
}

func TestAgent_RegistersOnceAndRenewsTheLeaseEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		a := run(t, s, node.Config{}, node.With{})
		pass(2*time.Minute + time.Second)
		if s.made != 1 || a.Node().UID != "uid" {
			t.Errorf("registered %d times, knows %q", s.made, a.Node().UID)
		}
		if n := s.times("create leases") + s.times("update leases"); n != 13 && n != 14 { // one to add the owner, when it was not known at the first
			t.Errorf("%d renewals in 2 minutes, want 13, or 14", n)
		}
		if o := s.lease.OwnerReferences; len(o) != 1 || o[0].UID != "uid" {
			t.Errorf("owners of the lease: %v", o)
		}
		if n := s.times("patch nodes.status"); n != 0 {
			t.Errorf("%d status writes without a change, want 0", n)
		}
	})
}

// A pod from a file is admitted by what the Node may use, also when the API server is away.
func TestAgent_KnowsWhatPodsMayUseFromTheStart(t *testing.T) {
	a := node.New(node.Config{Facts: node.Facts{MaxPods: 7}, Registration: node.Registration{Name: "n1"}})
	if n := a.Node(); n.Status.Allocatable.Pods().Value() != 7 || n.Status.Capacity.Pods().Value() != 7 {
		t.Errorf("allocatable %v, capacity %v", n.Status.Allocatable, n.Status.Capacity)
	}
	select {
	case <-a.Known():
		t.Error("the Node is known before an API server has told it")
	default:
	}
}

func TestAgent_WritesTheStatusOnAChangeAndEveryFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var notReady []string
		s := &server{}
		a := run(t, s, node.Config{}, node.With{Observe: func(context.Context) node.Observation {
			mu.Lock()
			defer mu.Unlock()
			return node.Observation{NotReady: notReady}
		}})
		pass(5*time.Minute + 15*time.Second)
		if n := s.times("patch nodes.status"); n != 1 {
			t.Fatalf("%d status writes after 5 minutes, want the sign of life", n)
		}
		mu.Lock()
		notReady = []string{"the runtime is down"}
		mu.Unlock()
		a.Poke()
		synctest.Wait()
		if n := s.times("patch nodes.status"); n != 2 {
			t.Errorf("%d status writes after the change, want 2", n)
		}
	})
}

func TestAgent_AdoptsANodeThatExists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{node: &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "old", Labels: map[string]string{"mine": "kept"}}}}
		a := run(t, s, node.Config{}, node.With{})
		synctest.Wait()
		if s.made != 0 || a.Node().UID != "old" || s.times("patch nodes.") != 1 || s.times("patch nodes.status") != 1 {
			t.Errorf("made %d, knows %q, requests %v", s.made, a.Node().UID, s.count)
		}
	})
}

func TestAgent_RegistersAgainAfterADeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		run(t, s, node.Config{}, node.With{})
		synctest.Wait()
		s.mu.Lock()
		gone := s.node
		s.node = nil
		s.mu.Unlock()
		s.watch.Delete(gone)
		synctest.Wait()
		if s.made != 2 {
			t.Errorf("registered %d times, want 2", s.made)
		}
	})
}

func TestAgent_MakesADeletedLeaseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		run(t, s, node.Config{}, node.With{})
		pass(15 * time.Second)
		s.mu.Lock()
		s.lease = nil
		s.mu.Unlock()
		pass(10 * time.Second)
		if s.lease == nil {
			t.Error("the lease stays away")
		}
	})
}

// An agent that gave up after ten seconds would have renewed its lease at the server and not know it, and then ask for it in
// vain: the node would be taken for dead.
func TestAgent_RenewsTheLeaseAtAServerThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &server{}
		changes := 0
		a := run(t, s, node.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), ReportEvery: time.Hour}, node.With{Changed: func() { changes++ }})
		pass(time.Minute)
		told := func() v1.NodeCondition { return a.Told().Status.Conditions[0] }
		slowly := func(d time.Duration) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.late = d
		}
		before := changes
		slowly(12 * time.Second)
		pass(11 * time.Second) // the next renewal, and its patience
		if c := told(); c.Type != node.Unavailable || !strings.Contains(c.Message, "no answer from the API server in 10s") {
			t.Errorf("a server that was quick and is silent is told as %+v", c)
		}
		pass(5 * time.Minute)
		if c := told(); c.Type != node.Slow || !strings.Contains(c.Message, "it takes 12s to answer") {
			t.Errorf("a slow server is told as %+v", c)
		}
		if n := strings.Count(log.String(), "is slow"); n != 1 || strings.Count(log.String(), "cannot renew") != 1 {
			t.Errorf("slowness is said %d times:\n%s", n, &log)
		}
		slowly(0)
		pass(40 * time.Second)
		if c := told(); c.Type == node.Slow || !strings.Contains(log.String(), "quick again") {
			t.Errorf("it is quick again, and told as %+v:\n%s", c, &log)
		}
		if n := changes - before; n != 4 { // silent, not silent, slow, quick
			t.Errorf("woken %d times, want 4", n)
		}
		for i := range s.leased[1:] {
			if gap := s.leased[i+1].Sub(s.leased[i]); gap > 13*time.Second {
				t.Errorf("no renewal for %s", gap)
			}
		}
	})
}

func TestAgent_RenewsALeaseThatSomebodyElseHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &server{}
		run(t, s, node.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, node.With{})
		pass(25 * time.Second)
		s.mu.Lock()
		s.lease.ResourceVersion = "other"
		before := len(s.leased)
		s.mu.Unlock()
		pass(10 * time.Second)
		if len(s.leased) != before+1 || strings.Contains(log.String(), "cannot") {
			t.Errorf("%d renewals, want 1:\n%s", len(s.leased)-before, &log)
		}
	})
}

func TestAgent_JoinsWithinTenSecondsOfAnOutagesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{away: true}
		a := run(t, s, node.Config{}, node.With{})
		pass(10 * time.Minute)
		if c := a.Told().Status.Conditions; len(c) == 0 || c[0].Type != node.Unavailable || c[0].Reason != "Unreachable" || !strings.Contains(c[0].Message, "cannot watch the Node") {
			t.Errorf("the outage is not told: %+v", c)
		}
		if c := a.Node().Status.Conditions; len(c) == 0 || c[len(c)-1].Type != v1.NodeReady || c[len(c)-1].Status != v1.ConditionTrue {
			t.Errorf("a node without an API server is not what it sees of itself: %+v", c)
		}
		s.mu.Lock()
		s.away = false
		s.mu.Unlock()
		pass(16 * time.Second) // 10 s and the jitter
		if c := a.Told().Status.Conditions; len(c) == 0 || c[0].Type == node.Unavailable {
			t.Errorf("the outage is told after its end: %+v", c)
		}
		if s.made != 1 || s.lease == nil {
			t.Errorf("registered %d times, lease %v", s.made, s.lease)
		}
	})
}

func TestAgent_NamesItsCSIDriversOnceThereAreAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var drivers []storagev1.CSINodeDriver
		s := &server{}
		a := run(t, s, node.Config{}, node.With{Drivers: func() []storagev1.CSINodeDriver {
			mu.Lock()
			defer mu.Unlock()
			return drivers
		}})
		pass(time.Minute)
		if n := s.times("get csinodes"); n != 0 {
			t.Errorf("%d requests without a driver", n)
		}
		mu.Lock()
		drivers = []storagev1.CSINodeDriver{{Name: "d", NodeID: "n1"}}
		mu.Unlock()
		a.Poke()
		pass(time.Minute)
		if n := s.times("create csinodes"); n != 1 {
			t.Errorf("created %d times, want 1", n)
		}
	})
}

func TestAgent_ComputesTheNodeWithoutAnAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := node.New(node.Config{
			Registration: node.Registration{Name: "n1", Labels: map[string]string{"a": "b"}},
			Facts:        node.Facts{Hostname: "n1", IPs: addrs("192.0.2.7")},
		})
		with := node.With{Observe: func(context.Context) node.Observation { return node.Observation{RuntimeVersion: "containerd://2.4.2"} }}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { a.Run(ctx, with) })
		defer func() { cancel(); wg.Wait() }()
		synctest.Wait()
		n := a.Node()
		if n.Status.NodeInfo.ContainerRuntimeVersion != "containerd://2.4.2" || n.Labels["a"] != "b" {
			t.Errorf("standalone node: %+v", n)
		}
	})
}

// pass lets the bubble's time go by, and everything that is due then come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
