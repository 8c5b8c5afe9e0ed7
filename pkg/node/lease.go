package node

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// lease is the node's heartbeat: kube-node-lease/<node>, renewed four times in its length, made again when it was deleted.
// One goroutine's.
type lease struct {
	api    API
	name   string
	length time.Duration
	node   func() *v1.Node
	outage *kube.Outage
	slow   *slowness

	last *coordinationv1.Lease // as the API server has it; nil: not known
	took time.Duration         // the last answer
}

const leaseNamespace = "kube-node-lease"

func (l *lease) run(ctx context.Context) {
	every := l.length / 4
	retry := kube.Backoff(every/32, every)
	for ctx.Err() == nil {
		began, wait := time.Now(), retry.Step()
		if err := l.renew(ctx); err != nil && ctx.Err() == nil {
			l.outage.Failed(err)
		} else {
			l.outage.OK()
			wait = min(wait, every)
			if len(l.last.OwnerReferences) > 0 { // else the Node was not known yet, and may never be
				retry, wait = kube.Backoff(every/32, every), max(every-time.Since(began), every/32)
			}
		}
		kube.Sleep(ctx, wait)
	}
}

func (l *lease) renew(ctx context.Context) error {
	known := l.last != nil
	err := l.write(ctx)
	if known && apierrors.IsConflict(err) { // with a renewal whose answer was lost, or with somebody else
		l.last = nil
		err = l.write(ctx)
	}
	return err
}

// ask makes one request and waits longer for its answer than for a sign that the API server is there: what is given up
// here has mostly been done there, and a lease that is renewed late is better than one that is asked for in vain.
func (l *lease) ask(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.length*3/4)
	defer cancel()
	patience := max(l.length/4, 2*l.took)
	told := make(chan struct{})
	sign := time.AfterFunc(patience, func() {
		defer close(told)
		l.outage.Failed(fmt.Errorf("no answer from the API server in %s", patience.Round(100*time.Millisecond)))
	})
	began := time.Now()
	err := request(ctx)
	if !sign.Stop() {
		<-told
	}
	if err == nil {
		l.took = time.Since(began)
		l.slow.answered(l.took)
	}
	return err
}

func (l *lease) write(ctx context.Context) error {
	at := kube.Key{Resource: kube.Leases, Namespace: leaseNamespace, Name: l.name}
	if l.last == nil {
		got := &coordinationv1.Lease{}
		err := l.ask(ctx, func(ctx context.Context) error { return l.api.Get(ctx, at, got) })
		if apierrors.IsNotFound(err) {
			return l.create(ctx)
		}
		if err != nil {
			return err
		}
		l.last = got
	}
	next := l.last.DeepCopy()
	l.fill(next)
	err := l.ask(ctx, func(ctx context.Context) error { return l.api.Update(ctx, at, next, next) })
	switch {
	case err == nil:
		l.last = next
	case apierrors.IsNotFound(err):
		return l.create(ctx)
	}
	return err
}

func (l *lease) create(ctx context.Context) error {
	n := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name, Namespace: leaseNamespace}}
	l.fill(n)
	l.last = nil
	at := kube.Key{Resource: kube.Leases, Namespace: leaseNamespace}
	if err := l.ask(ctx, func(ctx context.Context) error { return l.api.Create(ctx, at, n, n) }); err != nil {
		return err
	}
	l.last = n
	return nil
}

// fill makes the lease the node's. The owner is added as soon as the Node is known, so that the lease goes with it.
func (l *lease) fill(n *coordinationv1.Lease) {
	now := metav1.NewMicroTime(time.Now())
	n.Spec.HolderIdentity = new(l.name)
	n.Spec.LeaseDurationSeconds = new(int32(l.length / time.Second))
	n.Spec.RenewTime = &now
	if uid := l.node().UID; uid != "" && (len(n.OwnerReferences) != 1 || n.OwnerReferences[0].UID != uid) {
		n.OwnerReferences = []metav1.OwnerReference{owner(l.node())}
	}
}

func owner(n *v1.Node) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}
}
