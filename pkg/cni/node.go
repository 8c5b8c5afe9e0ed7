package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// timeout bounds one request; rollbackTimeout bounds the DEL that follows a failed ADD.
const (
	timeout         = 2 * time.Minute
	rollbackTimeout = 30 * time.Second
)

// settle is how long an attachment that the runtime does not list is taken for one of a sandbox in the making.
const settle = 5 * time.Minute

// Config is what a Node works with.
type Config struct {
	Dir     string   // the agent's own: journal, locks, results, bridge network; <root-dir>/cni
	ConfDir string   // the runtime's network configurations, /etc/cni/net.d by default
	BinDirs []string // where plugins are, first match wins
	Settle  time.Duration
	Extra   ExtraFunc    // nil: pods have the default network alone
	Log     *slog.Logger // nil: silent
}

// ExtraFunc finds the networks that a pod names beyond the default one, in the order in which they are attached. It gets
// the pod and the request's runtimeConfig, which holds the pod's annotations when the runtime sends them.
type ExtraFunc func(ctx context.Context, pod PodRef, runtimeConfig map[string]json.RawMessage) ([]Extra, error)

// Extra is one network that a pod names, and how it wants it.
type Extra struct {
	Network       *Network
	IfName        string
	RuntimeConfig map[string]json.RawMessage
}

// Node is the node's CNI: every attachment of every pod goes through it. It may be used by many goroutines.
type Node struct {
	cfg     Config
	journal journal
	nets    *networks

	released released
}

// New returns a Node. It touches nothing before it is used.
func New(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Settle == 0 {
		cfg.Settle = settle
	}
	return &Node{
		cfg:     cfg,
		journal: newJournal(filepath.Join(cfg.Dir, "attachments"), cfg.Log),
		nets:    &networks{confDir: cfg.ConfDir, ownDir: cfg.Dir, log: cfg.Log},
	}
}

// Do carries out one request of the runtime.
func (n *Node) Do(ctx context.Context, r Request) Response {
	if err := r.check(); err != nil {
		return Response{Error: cniError(err)}
	}
	in, err := r.parse()
	if err != nil {
		return Response{Error: cniError(err)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took longer than %s", timeout))
	defer cancel()
	switch r.Command {
	case cmdAdd:
		result, err := n.add(ctx, r, in)
		return respond(in.CNIVersion, result, err)
	case cmdDel:
		return respond(in.CNIVersion, nil, n.del(ctx, r, in))
	case cmdCheck:
		return respond(in.CNIVersion, nil, n.check(ctx, r))
	case cmdGC:
		return respond(in.CNIVersion, nil, n.gc(ctx, in.Valid))
	default:
		return respond(in.CNIVersion, nil, n.requestStatus())
	}
}

// check runs CHECK on what is attached for a request.
func (n *Node) check(ctx context.Context, r Request) error {
	l, err := take(ctx, n.lockPath(), r.ContainerID)
	if err != nil {
		return err
	}
	defer l.release()
	all, err := n.of(r)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return types.NewError(types.ErrUnknownContainer, fmt.Sprintf("container %s has no journalled %s", r.ContainerID, r.IfName), "")
	}
	var errs []error
	for _, a := range all {
		errs = append(errs, n.checkOne(ctx, a, l))
	}
	return errors.Join(errs...)
}

func (n *Node) checkOne(ctx context.Context, a Attachment, l *lock) error {
	list, err := libcni.NetworkConfFromBytes(a.Config)
	if err != nil {
		return err
	}
	err = n.libcni(l).CheckNetworkList(ctx, list, a.runtimeConf())
	if errors.Is(err, libcni.ErrorCheckNotSupp) {
		return nil
	}
	return err
}

// of returns the journalled attachments of a request, in the order in which they were made.
func (n *Node) of(r Request) ([]Attachment, error) {
	all, err := n.journal.list(r.ContainerID)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a Attachment) bool { return a.Parent != r.IfName })
	slices.SortFunc(all, func(a, b Attachment) int { return a.Order - b.Order })
	return all, nil
}

func (n *Node) lockPath() string { return filepath.Join(n.cfg.Dir, "lock") }

func (n *Node) libcni(l *lock) *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(n.cfg.BinDirs, n.cfg.Dir, &plugins{lock: l})
}
