package node

import (
	"context"
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

	last *coordinationv1.Lease // as the API server has it; nil: not known
}

const leaseNamespace = "kube-node-lease"

func (l *lease) run(ctx context.Context) {
	every := l.length / 4
	retry := every / 32
	for ctx.Err() == nil {
		wait := every
		if err := l.renew(ctx); err != nil && ctx.Err() == nil {
			l.outage.Failed(err)
			wait, retry = retry, min(2*retry, every)
		} else {
			l.outage.OK()
			retry = every / 32
			if len(l.last.OwnerReferences) == 0 { // the Node was not known yet
				wait = retry
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (l *lease) renew(ctx context.Context) error {
	at := kube.Key{Resource: kube.Leases, Namespace: leaseNamespace, Name: l.name}
	if l.last == nil {
		got := &coordinationv1.Lease{}
		err := l.api.Get(ctx, at, got)
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
	err := l.api.Update(ctx, at, next, next)
	switch {
	case err == nil:
		l.last = next
		return nil
	case apierrors.IsNotFound(err):
		return l.create(ctx)
	}
	l.last = nil // whoever changed it, the next look sees it
	return err
}

func (l *lease) create(ctx context.Context) error {
	n := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name, Namespace: leaseNamespace}}
	l.fill(n)
	l.last = nil
	if err := l.api.Create(ctx, kube.Key{Resource: kube.Leases, Namespace: leaseNamespace}, n, n); err != nil {
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
