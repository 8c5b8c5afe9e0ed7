package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minikubelet/minikubelet/pkg/cni/plugin"
	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/config/disk"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/systemd"
)

// purge stops every pod of this machine, as an agent does whose sources want none, and then removes what the agent keeps:
// its records, its CNI plugin and network, its cgroups. What people put there stays: image archives, CSI drivers.
func purge(ctx context.Context, file string, out io.Writer) error {
	flags := config.NewFlags()
	if err := flags.Parse(flagsFor(file)); err != nil {
		return err
	}
	loaded, err := config.Load(flags, disk.Files())
	if err != nil {
		return fmt.Errorf("cannot tell where the pods are: %w", err)
	}
	cfg := loaded.Config
	cfg.Sources, cfg.API.Kubeconfig, cfg.Server.Enabled = config.Sources{}, "", false
	cfg.Server.Healthz = netip.AddrPort{}
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	slog.SetDefault(systemd.NewLogger(level, cfg.Agent.LogFormat))
	if err := drain(ctx, cfg, out); err != nil {
		return err
	}
	root := cfg.Agent.Root
	var errs []error
	for _, name := range []string{"minikubelet", "image_manager"} {
		errs = append(errs, os.RemoveAll(filepath.Join(root, name)))
	}
	for _, name := range []string{"pki/kubelet.crt", "pki/kubelet.key", "pki", "pods", "plugins_registry", "plugins", "cni", ""} {
		errs = append(errs, removeEmpty(filepath.Join(root, name)))
	}
	for _, path := range []string{cfg.Agent.Socket, filepath.Dir(cfg.Agent.Socket), cfg.Pods.LogDir, containerLogs} {
		errs = append(errs, removeEmpty(path))
	}
	return errors.Join(errs...)
}

// flagsFor are the flags of an agent with a configuration file; without that file, defaults hold.
func flagsFor(file string) []string {
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	return []string{"--config=" + file}
}

// removeEmpty removes a file, or a directory in which nothing is.
func removeEmpty(path string) error {
	err := os.Remove(path)
	if i, statErr := os.Stat(path); statErr == nil && i.IsDir() || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// drain runs an agent until no pod is left, and takes it off the machine.
func drain(ctx context.Context, cfg config.Config, out io.Writer) error {
	unlock, err := lockRoot(cfg.Agent.Root)
	if err != nil {
		return err
	}
	defer unlock()
	runtime, err := cri.New(cfg.Runtime.Endpoint)
	if err != nil {
		return err
	}
	defer runtime.Close()
	if err := awaitRuntime(ctx, runtime); err != nil {
		return fmt.Errorf("the container runtime does not answer, which runs the pods: %w", err)
	}
	deaf := live{reload: func(ctx context.Context, _ func(config.Config) error) error {
		<-ctx.Done()
		return nil
	}}
	a, err := wire(ctx, deaf, cfg, runtime, activity.New(version))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	running, end := context.WithCancel(ctx)
	g.Go(func() error { return ignoreCanceled(a.run(running)) })
	g.Go(func() error {
		defer end()
		return a.emptied(ctx, out)
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("cannot stop every pod: %w", err)
	}
	return a.leave()
}

// emptied returns when no pod is left on the node.
func (a *agent) emptied(ctx context.Context, out io.Writer) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.pods.sweeper.Synced():
	}
	a.pods.sweeper.Sweep(ctx) // pods that nobody remembers
	t := time.NewTicker(time.Second)
	defer t.Stop()
	told := -1
	for {
		changed := a.changes.next()
		n := len(a.pods.set.Pods())
		if n == 0 {
			break
		}
		if n != told {
			told = n
			fmt.Fprintf(out, "stopping pods: %d are left\n", n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-t.C:
		}
	}
	network := a.network.ours()
	if network == nil {
		return nil
	}
	_, err := network.Release(ctx, func(string) bool { return false })
	return err
}

// leave takes away what the agent has put elsewhere on the machine.
func (a *agent) leave() error {
	errs := []error{a.local.cgroups.RemoveNode()}
	if s := a.network.settings; s.Dir != "" {
		errs = append(errs, plugin.Remove(s, plugin.Bridge{}))
	}
	return errors.Join(errs...)
}
