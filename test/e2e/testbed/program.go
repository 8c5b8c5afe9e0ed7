package testbed

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// Program is a T for a program: a failure unwinds to RunProgram, and what was set up is cleaned up, also when the run is
// interrupted.
type Program struct {
	name     string
	mu       sync.Mutex
	cleanups []func()
	failed   atomic.Bool
}

type failure string

func (p *Program) Helper()      {}
func (p *Program) Name() string { return p.name }
func (p *Program) Failed() bool { return p.failed.Load() }
func (p *Program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}
func (p *Program) Logf(format string, a ...any)   { fmt.Fprintf(os.Stderr, format+"\n", a...) }
func (p *Program) Fatalf(format string, a ...any) { panic(failure(fmt.Sprintf(format, a...))) }

// RunProgram calls f and reports whether that went well. An interrupt ends the program once the node is clean.
func RunProgram(name string, f func(*Program)) bool {
	p := &Program{name: name}
	done, interrupted := make(chan bool, 1), make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	go func() { done <- p.try(f) }()
	select {
	case ok := <-done:
		p.clean()
		return ok
	case s := <-interrupted:
		fmt.Fprintf(os.Stderr, "%s: %s - cleaning up\n", name, s)
		p.clean()
		os.Exit(1)
		return false
	}
}

func (p *Program) clean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Backward(p.cleanups) {
		c()
	}
}

func (p *Program) try(f func(*Program)) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			p.failed.Store(true)
			fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, r)
			if _, mine := r.(failure); !mine {
				debug.PrintStack()
			}
		}
	}()
	f(p)
	return true
}
