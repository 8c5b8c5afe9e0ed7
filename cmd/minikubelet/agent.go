package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/config/disk"
	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/metrics/activity"
	"github.com/minikubelet/minikubelet/pkg/reload"
	"github.com/minikubelet/minikubelet/pkg/systemd"
)

// newAgentCommand is the root command: without a subcommand, minikubelet is the agent.
func newAgentCommand() *cobra.Command {
	flags := config.NewFlags()
	cmd := &cobra.Command{
		Use:   "minikubelet",
		Short: "a node agent: runs the pods of a directory and of an API server on this node",
		Long: "minikubelet runs pods on this node: those of a manifest directory, and those that an API server binds to it.\n" +
			"Without a subcommand it is the agent; the subcommands ask a running agent.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q: see minikubelet --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked, err := cmd.Flags().GetBool("version"); err != nil || asked {
				fmt.Fprintln(cmd.OutOrStdout(), "Kubernetes", version)
				return err
			}
			load := func() (*config.Loaded, error) { return config.Load(flags, disk.Files()) }
			loaded, err := load()
			if err != nil {
				return usage("%w", err)
			}
			return runAgent(cmd.Context(), reload.New(loaded, load), flags.Shown)
		},
	}
	cmd.Flags().AddFlagSet(flags.FlagSet)
	return cmd
}

// The garbage collector trades CPU for memory: an idle node's heap is a few MiB, so a low percentage costs little.
const gcPercent = 50

// runAgent runs the agent until the context ends; flagz is what its command line said.
func runAgent(ctx context.Context, r *reload.Reloader, flagz func() map[string]string) error {
	cfg, started := r.InForce().Config, time.Now()
	debug.SetGCPercent(gcPercent)
	r.Level.Set(cfg.Agent.LogLevel)
	slog.SetDefault(systemd.NewLogger(r.Level, cfg.Agent.LogFormat))
	asked, deaf := r.Listen() // from here on SIGHUP no longer ends the process
	defer deaf()
	if err := checkSwap(cfg.Cgroups.FailSwapOn); err != nil {
		return err
	}
	unlock, err := lockRoot(cfg.Agent.Root)
	if err != nil {
		return err
	}
	defer unlock()
	setOOMScore(cfg.Cgroups.OOMScoreAdj)
	slog.Info("minikubelet starts", "version", version, "root", cfg.Agent.Root, "standalone", cfg.API.Kubeconfig == "")
	counters := activity.New(version)
	if err := counters.CountRequests(); err != nil {
		return err
	}
	runtime, err := cri.Open(cfg.Runtime.Endpoint, cri.Options{
		ImageEndpoint: cfg.Runtime.ImageEndpoint, Timeout: cfg.Runtime.Timeout, Observe: counters.Operation,
	})
	if err != nil {
		return err
	}
	if err := awaitRuntime(ctx, runtime); err != nil {
		return errors.Join(ignoreCanceled(err), runtime.Close())
	}
	a, err := wire(ctx, live{
		started: started, flagz: flagz, configz: r.Configz, verbosity: func(v int) { r.Level.Set(config.LogLevel(v)) },
		reload: func(ctx context.Context, take func(config.Config) error) error { return r.Run(ctx, asked, take) },
	}, cfg, runtime, counters)
	if err != nil {
		return errors.Join(err, runtime.Close())
	}
	err = errors.Join(ignoreCanceled(a.run(ctx)), runtime.Close())
	if err != nil {
		slog.Error("minikubelet ends with an error; containers go on running", "err", err)
		return err
	}
	slog.Info("minikubelet ends; containers go on running")
	return nil
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// lockRoot makes sure that one agent alone works in a root directory, and removes what a killed one left half-written there.
func lockRoot(root string) (unlock func(), err error) {
	dir := filepath.Join(root, "minikubelet")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the root directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of the root directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another agent works in %s: stop it, or give this one another --root-dir", root), f.Close())
	}
	unlock = func() { _ = f.Close() }
	if err := atomicfile.Sweep(dir, 0); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// awaitRuntime returns when the runtime answers. A node whose runtime is still starting waits; it does not fail.
func awaitRuntime(ctx context.Context, c *cri.Client) error {
	const most = 5 * time.Second
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, most) {
		v, err := c.Version(ctx)
		if err == nil {
			slog.Info("the container runtime answers", "runtime", v.String())
			return nil
		}
		if wait == most {
			slog.Warn("wait for the container runtime", "err", err)
		}
		systemd.Tell(systemd.ExtendTimeout, "STATUS=waiting for the container runtime at "+c.SocketPath())
		if kube.Sleep(ctx, wait); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// run runs every part of the agent and returns when all have ended. The end of one part that is not asked for ends all. Who
// connects before the pods of before are taken up is answered after: nobody is told that a pod is gone that runs.
func (a *agent) run(ctx context.Context) error {
	servers, err := a.listen()
	if err != nil {
		return err
	}
	a.pulse.Beat()
	g, ctx := errgroup.WithContext(ctx)
	if err := a.adopt(ctx); err != nil {
		return err
	}
	for _, part := range slices.Concat(a.parts(), servers) {
		g.Go(func() error { return part(ctx) })
	}
	g.Go(func() error {
		a.pulse.Run(ctx, a.pods.set)
		return nil
	})
	g.Go(func() error { return a.live.reload(ctx, a.takeUp) })
	g.Go(func() error { return a.notify(ctx) })
	err = g.Wait()
	a.pods.set.Wait()
	a.pods.probes.Close()
	a.images.puller.Puller.Wait()
	return err
}
