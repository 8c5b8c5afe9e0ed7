package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/node"
	"github.com/minikubelet/minikubelet/pkg/sync/fuse"
)

// agent is every part of the agent, made and not yet running. The type of each group is beside what wires it.
type agent struct {
	cfg     config.Config
	host    host
	runtime *cri.Client
	api     apiSide
	reports reports
	local   local
	images  imageParts
	network network
	node    nodeParts
	pods    podParts
	live    live
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
	flagz     func() map[string]string    // the command line
	configz   func() any                  // the configuration that is in force
	reload    func(context.Context) error // takes up a changed one when it is asked to
	verbosity func(int)                   // changes how much is logged, until the next reload
}

// takeUp hands what can change while the agent runs to those whom it is for; after an error nothing has changed.
func (a *agent) takeUp(cfg config.Config) error {
	limits, err := evictionLimits(cfg.Eviction)
	if err != nil {
		return err
	}
	a.node.guard.SetLimits(limits)
	a.images.collector.Set(imageLimits(cfg.Images))
	a.pods.rotator.Set(cfg.Pods.LogMaxSize, cfg.Pods.LogMaxFiles)
	return nil
}

// wire makes the parts, each from the ones before it.
func wire(ctx context.Context, cfg config.Config, runtime *cri.Client, counters *activity.Counters) (*agent, error) {
	a := &agent{cfg: cfg, runtime: runtime}
	a.reports.counters, a.pods.changes, a.pods.fuse = counters, newBroadcast(), fuse.New(os.Getenv(fuse.Variable))
	for _, step := range []func(context.Context) error{
		a.wireHost, a.wireAPI, a.wireCgroups, a.wireImages, a.wireNetwork, a.wireVolumes, a.wireNode, a.wirePods, a.wireFeed, a.wireBounds, a.wireGuard, a.wireMeters,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *agent) wireHost(ctx context.Context) error {
	var err error
	if a.host.name, err = node.HostName(a.cfg.Node.Name); err != nil {
		return err
	}
	interfaces, err := node.Interfaces()
	if err != nil {
		return err
	}
	if a.host.ips, err = node.PickAddresses(a.cfg.Node.IPs, interfaces); err != nil {
		// An API server cannot reach such a node. A standalone one runs its pods all the same, before any link is up.
		if a.cfg.API.Kubeconfig != "" || len(a.cfg.Node.IPs) > 0 {
			return err
		}
		a.host.ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		slog.Warn("the node goes by its loopback address until the agent is restarted", "err", err)
	}
	if a.host.machine, err = node.ReadMachine("/", a.cfg.Agent.Root); err != nil {
		return err
	}
	if a.host.runtime, err = a.runtime.Version(ctx); err != nil {
		return err
	}
	a.host.status, err = a.runtime.Status(ctx, true)
	return err
}
