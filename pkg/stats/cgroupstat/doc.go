// Package cgroupstat reads what the kernel counts of a control group, on cgroup v1 and v2, into one form. It reads only the
// files that monitoring asks for, into one buffer, and keeps nothing. What the kernel does not count is absent, never zero:
// pressure on v1, a limit that is not set. The package metrics calls it once for each group of a request.
package cgroupstat
