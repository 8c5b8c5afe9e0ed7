package systemd

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// ExtendTimeout asks for half a minute more until the agent is ready.
const ExtendTimeout = "EXTEND_TIMEOUT_USEC=30000000"

// Tell sends systemd, if it has started the agent, what sd_notify(3) defines.
func Tell(state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		slog.Warn("cannot tell systemd how the agent is", "state", state, "err", err)
	}
}

// TellReloading tells what a unit of Type=notify-reload must tell before it is ready again.
func TellReloading() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return
	}
	_, _ = daemon.SdNotify(false, fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}
