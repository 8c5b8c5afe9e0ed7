package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"os"
	goruntime "runtime"
	"time"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/metrics"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/sources/feed"
	"github.com/minikubelet/minikubelet/pkg/sync/fuse"
	"github.com/minikubelet/minikubelet/pkg/sync/loop"
)

// agent is every part of the agent, made and not yet running: each from those above it. The type of each group is beside
// what makes it.
type agent struct {
	base
	live     live
	api      clients
	node     nodeParts
	reports  reports
	certs    rotations
	objects  objectParts
	images   imageParts
	network  *network
	local    local
	pressure pressure
	pods     podParts
	bounds   bounds
	meter    *metrics.Collector
	feed     *feed.Feed
}

// base is what every part stands on.
type base struct {
	signals
	cfg      config.Config
	counters *activity.Counters
	runtime  *cri.Client
	host     host
}

// signals are what news goes through. They are there before all that tells news, and before all that hears them.
type signals struct {
	wakes   *loop.Wakes // of the loops of pods
	changes *broadcast  // of any pod, or of the Node
	pulse   *loop.Pulse // of the agent itself
	starts  *loop.Limit // of pods that are brought up at once
	fuse    *fuse.Fuse  // nil but in tests
}

// host is what is known of this machine once and for all.
type host struct {
	name    string
	ips     []netip.Addr
	machine node.Machine
	runtime cri.Version
	status  cri.Status // verbose
}

// live is how the agent was started, and what can change while it runs.
type live struct {
	started   time.Time
	flagz     func() map[string]string // the command line
	configz   func() any               // the configuration that is in force
	verbosity func(int)                // changes how much is logged, until the next reload
	// reload takes up a changed configuration when it is asked to, until the context ends.
	reload func(ctx context.Context, take func(config.Config) error) error
}

// wire makes the parts.
func wire(ctx context.Context, l live, cfg config.Config, runtime *cri.Client, counters *activity.Counters) (*agent, error) {
	b := base{
		signals: signals{
			wakes: loop.NewWakes(), changes: newBroadcast(), pulse: &loop.Pulse{}, starts: atOnce(cfg), fuse: fuse.New(os.Getenv(fuse.Variable)),
		},
		cfg: cfg, counters: counters, runtime: runtime,
	}
	var err error
	if b.host, err = readHost(ctx, cfg, runtime); err != nil {
		return nil, err
	}
	a := &agent{base: b, live: l}
	if a.api, err = b.newClients(ctx); err != nil {
		return nil, err
	}
	a.node = b.newNode(a.api)
	a.reports = b.newReports(a.api, a.node)
	if a.certs, err = b.newRotations(a.api, a.node, a.reports); err != nil {
		return nil, err
	}
	if a.objects, err = b.newObjects(a.api, a.node, a.reports); err != nil {
		return nil, err
	}
	if a.images, err = b.newImages(ctx, a.objects, a.reports); err != nil {
		return nil, err
	}
	a.network = b.newNetwork()
	if a.local, err = b.newLocal(ctx, a.node, a.objects, a.reports); err != nil {
		return nil, err
	}
	if a.pressure, err = b.newPressure(ctx, a.node, a.local, a.reports); err != nil {
		return nil, err
	}
	if a.pods, err = b.newPods(a.node, a.objects, a.images, a.local, a.pressure, a.reports); err != nil {
		return nil, err
	}
	a.bounds = b.newBounds(a.images, a.pods, a.reports)
	if a.meter, err = b.newMeter(a.node, a.certs, a.local, a.pressure, a.pods); err != nil {
		return nil, err
	}
	a.feed = b.newFeed(a.api, a.node, a.objects, a.pods, a.reports)
	return a, nil
}

// takeUp hands what can change while the agent runs to those whom it is for; after an error nothing has changed.
func (a *agent) takeUp(cfg config.Config) error {
	limits, err := evictionLimits(cfg.Eviction)
	if err != nil {
		return err
	}
	a.pressure.guard.SetLimits(limits)
	a.bounds.collector.Set(imageLimits(cfg.Images))
	a.bounds.rotator.Set(cfg.Pods.LogMaxSize, cfg.Pods.LogMaxFiles)
	return nil
}

// atOnce bounds how many pods are brought up, or torn down, at once.
func atOnce(cfg config.Config) *loop.Limit {
	return loop.NewLimit(cmp.Or(cfg.Pods.StartLimit, 2*goruntime.NumCPU()))
}

func readHost(ctx context.Context, cfg config.Config, runtime *cri.Client) (h host, err error) {
	if h.name, err = node.HostName(cfg.Node.Name); err != nil {
		return h, err
	}
	interfaces, err := node.Interfaces()
	if err != nil {
		return h, err
	}
	if h.ips, err = node.PickAddresses(cfg.Node.IPs, interfaces); err != nil {
		// An API server cannot reach such a node. A standalone one runs its pods all the same, before any link is up.
		if cfg.API.Kubeconfig != "" || len(cfg.Node.IPs) > 0 {
			return h, err
		}
		h.ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		slog.Warn("the node goes by its loopback address until the agent is restarted", "err", err)
	}
	if h.machine, err = node.ReadMachine("/", cfg.Agent.Root); err != nil {
		return h, err
	}
	if h.runtime, err = runtime.Version(ctx); err != nil {
		return h, err
	}
	h.status, err = runtime.Status(ctx, true)
	return h, err
}
