package cni

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/libcni"
)

// del releases all that was attached for a request. Its journal decides, not the configuration of today; without a
// journal (another CNI user attached it, or the journal was lost) it is today's default network.
func (n *Node) del(ctx context.Context, r Request, in stdin) error {
	l, err := take(ctx, n.lockPath(), r.ContainerID)
	if err != nil {
		return err
	}
	defer l.release()
	all, err := n.of(r)
	switch {
	case err != nil:
	case len(all) > 0:
		if err = n.detach(ctx, all, l); err == nil {
			n.released.add(r.ContainerID, r.IfName)
		}
	case !n.released.has(r.ContainerID, r.IfName):
		err = n.delUnknown(ctx, r, in, l)
	}
	return err
}

func (n *Node) delUnknown(ctx context.Context, r Request, in stdin, l *lock) error {
	net, err := n.nets.first()
	if errors.Is(err, errNoNetwork) {
		n.cfg.Log.Warn("a sandbox without a journalled network was let go: there is no network to release it from", "container", r.ContainerID)
		return nil
	}
	if err != nil {
		return err
	}
	args, err := parseArgs(r.Args)
	if err != nil {
		return err
	}
	a := Attachment{ContainerID: r.ContainerID, NetNS: r.NetNS, IfName: r.IfName, Args: args, RuntimeConfig: in.RuntimeConfig}
	if err := n.libcni(l).DelNetworkList(ctx, net.list, a.runtimeConf()); err != nil {
		return fmt.Errorf("cannot release container %s from network %q: %w", r.ContainerID, net.Name, err)
	}
	return nil
}

// detach runs DEL for attachments, the last made first, and forgets those that it released. It tries all of them.
func (n *Node) detach(ctx context.Context, all []Attachment, l *lock) error {
	var errs []error
	for _, a := range slices.Backward(all) {
		list, err := libcni.NetworkConfFromBytes(a.Config)
		if err == nil {
			err = n.libcni(l).DelNetworkList(ctx, list, a.runtimeConf())
		}
		if err == nil {
			err = n.journal.remove(a)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot release %s of container %s from network %q: %w", a.IfName, a.ContainerID, a.Network, err))
		}
	}
	return errors.Join(errs...)
}
