// Package reload takes up a changed configuration while the agent runs: at SIGHUP it loads the configuration again, hands on
// what can change, and says of each field that cannot that it waits for a restart. The command runs it.
package reload

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
	"github.com/minikubelet/minikubelet/pkg/systemd"
)

// Reloader holds the configuration that is in force.
type Reloader struct {
	Level *slog.LevelVar // of the log

	load func() (*config.Loaded, error)

	mu      sync.Mutex
	current *config.Loaded // what is in force; a field that waits for a restart has its old value here until then
}

// New takes what was loaded, and how to load it again.
func New(loaded *config.Loaded, load func() (*config.Loaded, error)) *Reloader {
	return &Reloader{Level: new(slog.LevelVar), load: load, current: loaded}
}

// InForce is what the agent goes by.
func (r *Reloader) InForce() *config.Loaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// Configz is InForce in the form that a kubelet shows.
func (r *Reloader) Configz() any { return r.InForce().Configz() }

// Listen takes SIGHUP from its default, which is to end the process, until stop.
func (*Reloader) Listen() (asked <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// Run reloads whenever it is asked to, until the context ends.
func (r *Reloader) Run(ctx context.Context, asked <-chan os.Signal, takeUp func(config.Config) error) error {
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
func (r *Reloader) reload(takeUp func(config.Config) error) error {
	newer, err := r.load()
	if err != nil {
		return err
	}
	current := r.InForce()
	changes, err := current.Changes(newer)
	if err != nil {
		return err
	}
	if err := takeUp(newer.Config); err != nil {
		return err
	}
	r.Level.Set(newer.Config.Agent.LogLevel)
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
