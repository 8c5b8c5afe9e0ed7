package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync/atomic"

	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/pkg/cni/plugin"
	"github.com/minikubelet/minikubelet/pkg/cri"
)

// network is the node's CNI as far as it is the agent's.
type network struct {
	node     *cni.Node // nil: the runtime's own
	settings cni.Settings
	left     atomic.Bool // to the runtime, which was found to have a network
}

// ours is nil where the network is the runtime's own.
func (n *network) ours() *cni.Node {
	if n.left.Load() {
		return nil
	}
	return n.node
}

// newNetwork prepares to be the node's CNI plugin; parts serves it and installs it.
func (b base) newNetwork() *network {
	if plugin.Provider(b.cfg.Network.Provider) == plugin.Runtime {
		return &network{}
	}
	setBin := ""
	if len(b.cfg.Network.BinDirs) > 0 {
		setBin = b.cfg.Network.BinDirs[0]
	}
	confDir, binDirs := plugin.Dirs(b.host.status.Info, b.cfg.Network.ConfDir, setBin)
	dir := filepath.Join(b.cfg.Agent.Root, "cni")
	return &network{
		settings: cni.Settings{Socket: filepath.Join(dir, "cni.sock"), Dir: dir, ConfDir: confDir, BinDirs: binDirs},
		node:     cni.New(cni.Config{Dir: dir, ConfDir: confDir, BinDirs: binDirs, Log: slog.Default()}),
	}
}

// serveNetwork answers the runtime's CNI requests. The agent installs itself as the plugin once it listens, because the
// runtime uses what is installed at once.
func (a *agent) serveNetwork(ctx context.Context) error {
	var subnet []netip.Prefix
	if c := a.cfg.Network.PodCIDR; c.IsValid() {
		subnet = []netip.Prefix{c}
	}
	provider, err := plugin.Install(plugin.Config{
		Provider: plugin.Provider(a.cfg.Network.Provider), Settings: a.network.settings,
		Bridge: plugin.Bridge{Subnet: subnet}, Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	slog.Info("pod networks", "provider", provider, "confDir", a.network.settings.ConfDir)
	if provider == plugin.Runtime {
		a.network.left.Store(true)
		<-ctx.Done()
		return nil
	}
	return a.network.node.Serve(ctx, a.network.settings.Socket)
}

// follower keeps the node's networks in line with the cluster's.
func (a *agent) follower() plugin.Follower {
	return plugin.Follower{
		Settings: a.network.settings, Provider: plugin.Provider(a.cfg.Network.Provider), Numbered: a.cfg.Network.PodCIDR.IsValid(),
		CIDRs: func() []string { return a.node.agent.Node().Spec.PodCIDRs }, Changed: a.changes.next,
		TellRuntime: func(ctx context.Context, cidrs string) error {
			err := a.runtime.SetPodCIDR(ctx, cidrs)
			if errors.Is(err, cri.ErrUnimplemented) {
				return nil // it does not want to know
			}
			return err
		},
		Pod: a.pods.set.Pod, StopSandbox: a.runtime.StopPodSandbox, Log: slog.Default(),
	}
}
