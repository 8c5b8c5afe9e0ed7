package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what a Node is made of. Root and Log are required.
type Config struct {
	Root         string // the kubelet's root directory, /var/lib/kubelet
	NodeName     string
	CallTimeout  time.Duration // for each call to a driver; zero: 2 min
	RetryBackoff time.Duration // first wait after a registration that failed, doubling to 1 min; zero: 1 s
	Changed      func()        // called after a driver came or went; must not block; nil: nobody wants to know
	Used         func()        // called after InUse has changed; must not block; nil: nobody wants to know
	Log          *slog.Logger
}

// Driver is a registered driver, as CSINode lists it.
type Driver struct {
	Name       string
	NodeID     string            // the driver's own name for this node
	Topology   map[string]string // labels of the node that say where its volumes can be reached
	MaxVolumes int64             // zero: no limit
}

// Ref identifies a volume.
type Ref struct {
	Driver string
	Handle string
}

func (r Ref) String() string { return r.Driver + "/" + r.Handle }

// ErrNoDriver is a volume of a driver that is not registered on this node.
var ErrNoDriver = errors.New("the driver is not registered on this node")

// Node is this node to its CSI drivers.
type Node struct {
	cfg     Config
	settled chan struct{} // closed when the drivers found at the start have been tried
	settle  func()

	mu      sync.Mutex
	drivers map[string]*driver
	staged  map[Ref]bool // staged in this life of the agent
	locks   map[Ref]*lock
}

// New makes the directories that drivers expect to find. Run makes it work.
func New(cfg Config) (*Node, error) {
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = 2 * time.Minute
	}
	if cfg.RetryBackoff == 0 {
		cfg.RetryBackoff = time.Second
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	for _, dir := range []string{"plugins_registry", "plugins", "pods"} {
		if err := os.MkdirAll(filepath.Join(cfg.Root, dir), 0o750); err != nil {
			return nil, fmt.Errorf("cannot make the directory of CSI plugins: %w", err)
		}
	}
	root, err := filepath.EvalSymlinks(cfg.Root) // the kernel lists mounts by their real path
	if err != nil {
		return nil, fmt.Errorf("cannot resolve the root directory: %w", err)
	}
	if cfg.Root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("cannot resolve the root directory: %w", err)
	}
	if err := removeEmptyStages(cfg.Root); err != nil {
		return nil, err
	}
	settled := make(chan struct{})
	return &Node{
		cfg: cfg, settled: settled, settle: sync.OnceFunc(func() { close(settled) }),
		drivers: map[string]*driver{}, staged: map[Ref]bool{}, locks: map[Ref]*lock{},
	}, nil
}

// removeEmptyStages removes the directories of volumes that an agent made and was killed before it noted what they are for:
// nothing was asked of a driver yet.
func removeEmptyStages(root string) error {
	dirs, err := filepath.Glob(filepath.Join(root, "plugins", "kubernetes.io", "csi", "*", "*"))
	if err != nil {
		return fmt.Errorf("cannot look for directories of staged volumes: %w", err)
	}
	for _, dir := range dirs {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("cannot remove the empty directory of a staged volume: %w", err)
		}
	}
	return nil
}

// Drivers lists the registered drivers by name.
func (n *Node) Drivers() []Driver {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]Driver, 0, len(n.drivers))
	for _, d := range n.drivers {
		list = append(list, d.info)
	}
	slices.SortFunc(list, func(a, b Driver) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// driver finds a registered driver. While the agent starts it waits for the drivers that are there to be tried once,
// at most settleLimit after Run began.
func (n *Node) driver(ctx context.Context, name string) (*driver, error) {
	if d := n.registered(name); d != nil {
		return d, nil
	}
	select {
	case <-n.settled:
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot wait for driver %s: %w", name, ctx.Err())
	}
	if d := n.registered(name); d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("driver %s: %w (start its node plugin, which makes a socket in %s)", name, ErrNoDriver, filepath.Join(n.cfg.Root, "plugins_registry"))
}

func (n *Node) registered(name string) *driver {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drivers[name]
}

func (n *Node) add(d *driver) {
	n.mu.Lock()
	n.drivers[d.info.Name] = d
	for ref := range n.staged { // a driver that was restarted may have lost what it staged: ask it again
		if ref.Driver == d.info.Name {
			delete(n.staged, ref)
		}
	}
	n.mu.Unlock()
	n.cfg.Log.Info("CSI driver registered", "driver", d.info.Name, "node", d.info.NodeID, "endpoint", d.endpoint)
	n.cfg.Changed()
}

// remove forgets a driver, unless it has registered anew since.
func (n *Node) remove(d *driver) {
	n.mu.Lock()
	gone := n.drivers[d.info.Name] == d
	if gone {
		delete(n.drivers, d.info.Name)
	}
	n.mu.Unlock()
	if gone {
		n.cfg.Log.Info("CSI driver gone", "driver", d.info.Name)
		n.cfg.Changed()
	}
}

func (n *Node) isStaged(ref Ref) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.staged[ref]
}

func (n *Node) setStaged(ref Ref, staged bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if staged {
		n.staged[ref] = true
	} else {
		delete(n.staged, ref)
	}
}

// lock serialises the work on one volume.
type lock struct {
	turn  chan struct{}
	users int
}

// hold waits for a volume. The caller must call release.
func (n *Node) hold(ctx context.Context, ref Ref) (release func(), err error) {
	n.mu.Lock()
	l := n.locks[ref]
	if l == nil {
		l = &lock{turn: make(chan struct{}, 1)}
		n.locks[ref] = l
	}
	l.users++
	n.mu.Unlock()
	leave := func() {
		n.mu.Lock()
		if l.users--; l.users == 0 {
			delete(n.locks, ref)
		}
		n.mu.Unlock()
	}
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("another pod's work on volume %s is not done yet: %w", ref, ctx.Err())
	}
}
