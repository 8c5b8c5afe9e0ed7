// Package systemd is what the agent tells systemd: its state, as sd_notify(3) defines it, and log lines with their priority,
// as sd-daemon(3) does. Run by anything else, the agent tells nobody and logs as it would. The command calls it.
package systemd
