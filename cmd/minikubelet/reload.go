package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/systemd"
)

// reloader reads the configuration again at SIGHUP.
type reloader struct {
	load  func() (*config.Loaded, error)
	flags func() map[string]string
	level *slog.LevelVar

	mu      sync.Mutex
	current *config.Loaded // what is in force; a field that waits for a restart has its old value here until then
}

func (r *reloader) inForce() *config.Loaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *reloader) configz() any { return r.inForce().Configz() }

// listen takes SIGHUP from its default, which is to end the process, until stop.
func (*reloader) listen() (asked <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// run reloads whenever it is asked to, until the context ends.
func (r *reloader) run(ctx context.Context, asked <-chan os.Signal, takeUp func(config.Config) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
		}
		systemd.TellReloading()
		if err := r.reload(takeUp); err != nil {
			slog.Error("cannot reload the configuration: nothing has changed", "err", err)
		}
		systemd.Tell(daemon.SdNotifyReady)
	}
}

// reload takes up what can change while the agent runs and says of each field what became of it.
func (r *reloader) reload(takeUp func(config.Config) error) error {
	newer, err := r.load()
	if err != nil {
		return err
	}
	current := r.inForce()
	changes, err := current.Changes(newer)
	if err != nil {
		return err
	}
	if err := takeUp(newer.Config); err != nil {
		return err
	}
	r.level.Set(newer.Config.Agent.LogLevel)
	waiting := 0
	for _, c := range changes {
		attrs := []any{"field", c.Path, "from", cmp.Or(c.From, "unset"), "to", cmp.Or(c.To, "unset"), "origin", c.Origin}
		if c.Live {
			slog.Info("configuration changed", attrs...)
			continue
		}
		waiting++
		slog.Warn("configuration not changed: restart the agent for this field", attrs...)
	}
	slog.Info("configuration reloaded", "changed", len(changes)-waiting, "waiting", waiting)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = current.With(newer)
	return nil
}

// takeUp hands what can change while the agent runs to those whom it is for; after an error nothing has changed.
func (a *agent) takeUp(cfg config.Config) error {
	limits, err := evictionLimits(cfg.Eviction)
	if err != nil {
		return err
	}
	a.node.guard.SetLimits(limits)
	a.images.collector.Set(imageLimits(cfg.Images))
	a.upkeep.rotator.Set(cfg.Pods.LogMaxSize, cfg.Pods.LogMaxFiles)
	return nil
}

func evictionLimits(e config.Eviction) (eviction.Limits, error) {
	thresholds, err := eviction.Parse(eviction.Settings{
		Hard: e.Hard, Soft: e.Soft, MinimumReclaim: e.MinimumReclaim, SoftGracePeriod: durations(e.SoftGrace),
	})
	return eviction.Limits{Thresholds: thresholds, Transition: e.Transition, MaxPodGrace: e.MaxPodGrace}, err
}

func imageLimits(i config.Images) images.GCLimits {
	return images.GCLimits{High: i.GCHigh, Low: i.GCLow, MinAge: i.MinAge, MaxAge: i.MaxAge}
}
