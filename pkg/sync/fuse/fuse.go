package fuse

import (
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// Variable names a moment at which the agent kills itself, for tests of what survives. It is KIND:EDGE:N: the Nth
// time that an edge, before or after, is met of an action of a kind; of a record that is saved, as kind "record"; or of
// an event of any reason that is told, as kind "event". An event is a moment inside an action: Created lies between a
// container's creation and its start.
const Variable = "MINIKUBELET_TEST_KILL_AT"

// Fuse counts down to the moment that the variable names. A nil Fuse never burns.
type Fuse struct {
	kind, edge string
	left       atomic.Int64
}

// New returns nil when the variable, whose value it is given, is not set.
func New(at string) *Fuse {
	if at == "" {
		return nil
	}
	f := &Fuse{}
	kind, rest, _ := strings.Cut(at, ":")
	edge, number, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		n = 1
	}
	f.kind, f.edge = kind, edge
	f.left.Store(n)
	return f
}

// meet dies at the moment.
func (f *Fuse) meet(kind, edge, what string) {
	if kind != f.kind || edge != f.edge || f.left.Add(-1) != 0 {
		return
	}
	slog.Warn("the agent kills itself, as "+Variable+" says", "at", what, "edge", edge)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal is delivered
}

// Boundary is the loops' hook; nil without a fuse.
func (f *Fuse) Boundary() func(plan.Action, string) {
	if f == nil {
		return nil
	}
	return func(a plan.Action, edge string) { f.meet(string(a.Kind), edge, a.Key()) }
}

// Teller takes events about pods; typ is Normal or Warning.
type Teller interface {
	Event(p *v1.Pod, container, typ, reason, message string)
}

// Events are what pods tell theirs to.
func (f *Fuse) Events(t Teller) Teller {
	if f == nil {
		return t
	}
	return fusedEvents{f, t}
}

type fusedEvents struct {
	*Fuse
	to Teller
}

func (e fusedEvents) Event(p *v1.Pod, container, typ, reason, message string) {
	e.meet("event", "before", reason+" "+container)
	e.to.Event(p, container, typ, reason, message)
	e.meet("event", "after", reason+" "+container)
}

// Records are what the loops remember with.
func (f *Fuse) Records(r loop.Records) loop.Records {
	if f == nil {
		return r
	}
	return fusedRecords{f, r}
}

type fusedRecords struct {
	*Fuse
	to loop.Records
}

func (r fusedRecords) Save(uid types.UID, rec pod.Record, sync bool) error {
	r.meet("record", "before", "save "+string(uid))
	err := r.to.Save(uid, rec, sync)
	r.meet("record", "after", "save "+string(uid))
	return err
}

func (r fusedRecords) Delete(uid types.UID) error {
	r.meet("record", "before", "delete "+string(uid))
	err := r.to.Delete(uid)
	r.meet("record", "after", "delete "+string(uid))
	return err
}
