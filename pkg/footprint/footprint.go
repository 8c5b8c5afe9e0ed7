package footprint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	period = 5 * time.Second        // how often the agent is looked at
	rest   = period / 20            // of CPU time in a period is the most that an agent at rest uses
	work   = 250 * time.Millisecond // of CPU time may have touched enough to give back
)

// Run gives memory back whenever the agent has come to rest after some work, until the context ends.
func Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	var before time.Duration
	trimmed := -work // start-up is work, however little it takes
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := used()
		if err == nil && due(before, now, trimmed) {
			trimmed, err = now, trim()
		}
		if err != nil {
			log.Warn("cannot give memory back: the agent keeps what it has", "err", err)
			return
		}
		before = now
	}
}

// due reports whether memory is to be given back, from the CPU time used until the period before, now, and the last time
// that it was given back.
func due(before, now, trimmed time.Duration) bool {
	return now-before <= rest && now-trimmed >= work
}

// trim returns unused heap to the system and unmaps the program's read-only pages. They are clean copies of its file: who
// needs one again reads it from there. A debugger's breakpoints, which are changes of such pages, are lost.
func trim() error {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("cannot read what is mapped: %w", err)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("cannot tell the program's file: %w", err)
	}
	var errs []error
	for from, to := range program(string(maps), self) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("cannot unmap pages of %s: %w", self, errno))
		}
	}
	return errors.Join(errs...)
}

// program yields the addresses of a file's mappings that cannot be written, in the format of proc_pid_maps(5).
func program(maps, file string) iter.Seq2[uintptr, uintptr] {
	return func(yield func(from, to uintptr) bool) {
		for line := range strings.Lines(maps) {
			addresses, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if !strings.HasSuffix(rest, " "+file) || len(rest) < 4 || rest[1] != '-' {
				continue
			}
			first, last, _ := strings.Cut(addresses, "-")
			from, err1 := strconv.ParseUint(first, 16, strconv.IntSize)
			to, err2 := strconv.ParseUint(last, 16, strconv.IntSize)
			if err1 == nil && err2 == nil && !yield(uintptr(from), uintptr(to)) {
				return
			}
		}
	}
}

// used is the CPU time that the agent has used since it began.
func used() (time.Duration, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0, fmt.Errorf("cannot tell the CPU time used: %w", err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}
