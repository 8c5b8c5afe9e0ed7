package cni

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// releasesAtOnce bounds how many attachments Release works on at a time: after a reboot all of a node's are stale.
const releasesAtOnce = 4

// List returns every journalled attachment, by container and in the order in which they were made.
func (n *Node) List() ([]Attachment, error) {
	all, err := n.journal.list("")
	slices.SortStableFunc(all, func(a, b Attachment) int {
		if a.ContainerID != b.ContainerID {
			return 0 // file names have sorted them
		}
		return a.Order - b.Order
	})
	return all, err
}

// Release replays DEL for the attachments whose sandbox is gone: live reports whether the runtime knows a container ID.
// A runtime lists a sandbox only once it is complete, so an attachment that is not listed, whose network namespace
// still exists and that is younger than Config.Settle may be one in the making: it is left alone. It returns how many
// attachments are left to look at again later, and the joined errors of those that could not be released.
func (n *Node) Release(ctx context.Context, live func(containerID string) bool) (left int, err error) {
	all, err := n.List()
	if err != nil {
		return 0, err
	}
	var dead [][]Attachment // by container
	for _, a := range all {
		switch last := len(dead) - 1; {
		case live(a.ContainerID):
		case n.young(a):
			left++
		case last >= 0 && dead[last][0].ContainerID == a.ContainerID:
			dead[last] = append(dead[last], a)
		default:
			dead = append(dead, []Attachment{a})
		}
	}
	errs := make([]error, len(dead))
	var g errgroup.Group
	g.SetLimit(releasesAtOnce)
	for i, group := range dead {
		g.Go(func() error {
			errs[i] = n.releaseOne(ctx, group)
			return nil
		})
	}
	_ = g.Wait()
	for i, e := range errs {
		if e != nil {
			left += len(dead[i])
		}
	}
	return left, errors.Join(append(errs, n.sweep())...)
}

// sweep removes what a kill between two steps left in the agent's own directory: half-written journal files.
func (n *Node) sweep() error { return atomicfile.Sweep(n.journal.book.Dir, n.cfg.Settle) }

func (n *Node) releaseOne(ctx context.Context, group []Attachment) error {
	id := group[0].ContainerID
	l, err := tryTake(n.lockPath(), id)
	if err != nil {
		return err
	}
	defer l.release()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = n.detach(ctx, group, l)
	if err == nil {
		n.cfg.Log.Info("released the leaked network of a sandbox that is gone", "container", id,
			"namespace", group[0].Pod.Namespace, "pod", group[0].Pod.Name, "uid", group[0].Pod.UID)
	}
	return err
}

// young reports whether an attachment may belong to a sandbox that is still being made.
func (n *Node) young(a Attachment) bool {
	if time.Since(a.Created) >= n.cfg.Settle {
		return false
	}
	_, err := os.Stat(a.NetNS)
	return err == nil
}

// gc releases every attachment that is not among the valid ones, and has the plugins of the default network do the same
// with what they hold (CNI SPEC 1.1, GC).
func (n *Node) gc(ctx context.Context, valid []types.GCAttachment) error {
	keep := make(map[types.GCAttachment]bool, len(valid))
	ids := make(map[string]bool, len(valid))
	for _, v := range valid {
		keep[v], ids[v.ContainerID] = true, true
	}
	_, err := n.Release(ctx, func(id string) bool { return ids[id] })
	net, netErr := n.nets.first()
	if netErr != nil {
		return err
	}
	// What Release left alone is valid for the plugins too.
	rest, listErr := n.List()
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for _, a := range rest {
		if g := (types.GCAttachment{ContainerID: a.ContainerID, IfName: a.IfName}); !keep[g] {
			valid = append(valid, g)
		}
	}
	return errors.Join(err, n.libcni(nil).GCNetworkList(ctx, net.list, &libcni.GCArgs{ValidAttachments: valid}))
}

// Status returns nil when pods can be attached: a network can be loaded and all its plugins are installed. It starts no
// process.
func (n *Node) Status() error {
	net, err := n.nets.first()
	if err != nil {
		return err
	}
	return net.missing(n.cfg.BinDirs)
}

// requestStatus is Status in the form of the STATUS command: 50 means that no ADD can be served (CNI SPEC 1.1, STATUS).
func (n *Node) requestStatus() error {
	if err := n.Status(); err != nil {
		return types.NewError(50, err.Error(), "")
	}
	return nil
}
