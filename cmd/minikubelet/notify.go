package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	v1 "k8s.io/api/core/v1"
)

// extend is how much more time systemd is asked for while the agent waits for the runtime, in the form of sd_notify(3).
const extend = "EXTEND_TIMEOUT_USEC=30000000"

// notify tells systemd that the agent is ready, that it lives as long as it does its job, how it is, and that it stops. It
// begins when all sockets listen.
func (a *agent) notify(ctx context.Context) error {
	said := ""
	tell(daemon.SdNotifyReady, "STATUS=taking up the pods")
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		every = time.Minute
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			tell(daemon.SdNotifyStopping, "STATUS=ending; containers go on running")
			return nil
		case <-t.C:
			if err := a.upkeep.health(); err != nil {
				slog.Error("the agent does not do its job: no sign of life goes to systemd", "err", err)
				continue
			}
			state := []string{daemon.SdNotifyWatchdog}
			if now := a.summary(); now != said {
				said = now
				state = append(state, "STATUS="+now)
			}
			tell(state...)
		}
	}
}

// tell sends systemd, if it has started the agent, what sd_notify(3) defines.
func tell(state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		slog.Warn("cannot tell systemd how the agent is", "state", state, "err", err)
	}
}

// summary is how the pods are, in a few words: systemctl status shows it.
func (a *agent) summary() string {
	pods, ready := a.set.Pods(), 0
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == v1.ConditionTrue {
				ready++
			}
		}
	}
	return fmt.Sprintf("pods: %d, ready: %d", len(pods), ready)
}
