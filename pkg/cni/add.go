package cni

import (
	"context"
	"fmt"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// add attaches a sandbox to the default network and those that its pod names, all or none.
func (n *Node) add(ctx context.Context, r Request, in stdin) (result types.Result, err error) {
	args, err := parseArgs(r.Args)
	if err != nil {
		return nil, err
	}
	l, err := take(ctx, n.lockPath(), r.ContainerID)
	if err != nil {
		return nil, err
	}
	defer l.release()
	n.released.forget(r.ContainerID, r.IfName)

	old, err := n.of(r)
	if err != nil {
		return nil, err
	}
	if result := n.finished(r, old); result != nil {
		return result, nil
	}
	// What an interrupted ADD left would make this one fail: the interface and the address are taken.
	if err := n.detach(ctx, old, l); err != nil {
		return nil, fmt.Errorf("cannot release what an earlier attempt left: %w", err)
	}
	wanted, err := n.wanted(ctx, r, in, args)
	if err != nil {
		return nil, err
	}
	for i, a := range wanted {
		res, err := n.attach(ctx, a, l)
		if err != nil {
			return nil, n.rollback(ctx, wanted[:i+1], l, err)
		}
		if i == 0 {
			result = res
		}
	}
	return result, nil
}

// wanted lists the attachments that an ADD makes, the default network's first.
func (n *Node) wanted(ctx context.Context, r Request, in stdin, args [][2]string) ([]Attachment, error) {
	net, err := n.nets.first()
	if err != nil {
		return nil, types.NewError(types.ErrTryAgainLater, err.Error(), "")
	}
	base := Attachment{
		ContainerID: r.ContainerID, NetNS: r.NetNS, Parent: r.IfName, Args: args, Pod: podRef(args), Created: time.Now().UTC(),
	}
	want := []Extra{{Network: net, IfName: r.IfName, RuntimeConfig: in.RuntimeConfig}}
	if n.cfg.Extra != nil {
		extras, err := n.cfg.Extra(ctx, base.Pod, in.RuntimeConfig)
		if err != nil {
			return nil, fmt.Errorf("cannot find the further networks of pod %s/%s: %w", base.Pod.Namespace, base.Pod.Name, err)
		}
		want = append(want, extras...)
	}
	var all []Attachment
	for i, w := range want {
		if err := checkNames(r.ContainerID, w.IfName); err != nil {
			return nil, err
		}
		a := base
		a.Order, a.IfName, a.Network, a.RuntimeConfig = i, w.IfName, w.Network.Name, w.RuntimeConfig
		if a.Config, err = w.Network.config(w.RuntimeConfig); err != nil {
			return nil, fmt.Errorf("cannot render network %q: %w", a.Network, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// attach journals an attachment and makes it.
func (n *Node) attach(ctx context.Context, a Attachment, l *lock) (types.Result, error) {
	list, err := libcni.NetworkConfFromBytes(a.Config)
	if err != nil {
		return nil, err
	}
	if err := n.journal.put(a); err != nil {
		return nil, err
	}
	result, err := n.libcni(l).AddNetworkList(ctx, list, a.runtimeConf())
	if err != nil {
		return nil, fmt.Errorf("cannot attach to network %q: %w", a.Network, err)
	}
	return result, nil
}

// rollback undoes an ADD (CNI SPEC, section 2: a runtime calls DEL after a failed ADD), also when its deadline is over.
// What cannot be undone stays in the journal.
func (n *Node) rollback(ctx context.Context, made []Attachment, l *lock, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if err := n.detach(ctx, made, l); err != nil {
		n.cfg.Log.Warn("a failed attachment could not be undone; it stays journalled and is tried again",
			"container", made[0].ContainerID, "pod", made[0].Pod.Name, "namespace", made[0].Pod.Namespace, "err", err)
	}
	return cause
}

// finished returns the result of an ADD that was done when its agent died, or nil.
func (n *Node) finished(r Request, old []Attachment) types.Result {
	if !r.Resume || len(old) == 0 || old[0].NetNS != r.NetNS {
		return nil
	}
	var first types.Result
	for i, a := range old {
		list, err := libcni.NetworkConfFromBytes(a.Config)
		if err != nil {
			return nil
		}
		result, err := n.libcni(nil).GetNetworkListCachedResult(list, a.runtimeConf())
		if err != nil || result == nil {
			return nil
		}
		if i == 0 {
			first = result
		}
	}
	return first
}
