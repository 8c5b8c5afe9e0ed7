package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/systemd"
)

// notify tells systemd that the agent is ready, that it lives as long as it does its job, how it is, and that it stops. It
// begins when all sockets listen.
func (a *agent) notify(ctx context.Context) error {
	said := ""
	systemd.Tell(daemon.SdNotifyReady, "STATUS=taking up the pods")
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		every = time.Minute
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			systemd.Tell(daemon.SdNotifyStopping, "STATUS=ending; containers go on running")
			return nil
		case <-t.C:
			if err := a.pulse.Health(); err != nil {
				slog.Error("the agent does not do its job: no sign of life goes to systemd", "err", err)
				continue
			}
			state := []string{daemon.SdNotifyWatchdog}
			if now := a.summary(); now != said {
				said = now
				state = append(state, "STATUS="+now)
			}
			systemd.Tell(state...)
		}
	}
}

// summary is how the pods are, in a few words: systemctl status shows it.
func (a *agent) summary() string {
	pods, ready := a.pods.set.Pods(), 0
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == v1.ConditionTrue {
				ready++
			}
		}
	}
	return fmt.Sprintf("pods: %d, ready: %d", len(pods), ready)
}
