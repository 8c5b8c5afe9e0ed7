package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a component that runs. It dies with the test program, also when that is killed.
type Process struct {
	Name string
	Log  string // path of its standard output and error

	t     T
	enter func() error // the network namespace that it runs in
	cmd   *exec.Cmd
	done  chan struct{}
	err   error // of Wait, once done is closed
}

// Start runs a command in the background, its output in Dir/log/<name>.log (appended, so that a restart keeps it).
func (e *Env) Start(name string, cmd *exec.Cmd) *Process {
	e.t.Helper()
	p := &Process{Name: name, Log: e.Path("log", name+".log"), t: e.t, enter: e.enter, cmd: cmd, done: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatalf("cannot start %s: %v", name, err)
	}
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go p.run(out, started)
	if err := <-started; err != nil {
		e.t.Fatalf("cannot start %s: %v", name, err)
	}
	for owner := e; owner != nil; owner = owner.parent() {
		owner.procs = append(owner.procs, p)
		owner.recordPid(p.Pid())
	}
	return p
}

// run starts the process and waits for it on one thread: the kernel sends Pdeathsig when the thread ends that forked.
func (p *Process) run(out *os.File, started chan<- error) {
	defer close(p.done)
	defer out.Close()
	ownThread(func() {
		err := p.enter()
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	})
}

// recordPid lets a later sweep recognise the process, should this program be killed before it.
func (e *Env) recordPid(pid int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return // it has ended already
	}
	if proc, ok := parseStat(string(b)); ok {
		e.WriteFile(proc.started, "pid", strconv.Itoa(pid))
	}
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// CPU is the processor time that the process has used, its children's left out.
func (p *Process) CPU() time.Duration {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		p.t.Fatalf("cannot read what %s uses: %v", p.Name, err)
	}
	// proc(5): utime and stime are fields 14 and 15, in ticks of 10 ms; the third follows the name in parentheses.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		p.t.Fatalf("cannot read what %s uses: %v", p.Name, err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal; a process that has ended is no error.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("cannot signal %s: %v", p.Name, err)
	}
}

// Kill ends the process with SIGKILL and waits for it: a crash.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end with SIGTERM, and kills it when it has not after grace. It returns what Wait said.
func (p *Process) stop(grace time.Duration) error {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.Name, grace)
	}
}

// Wait waits for the end of the process and returns its exit code, -1 for a signal. It fails the test after timeout.
func (p *Process) Wait(timeout time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(timeout):
		p.t.Fatalf("%s still runs after %s", p.Name, timeout)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Output is all that the process has written so far.
func (p *Process) Output() string {
	b, _ := os.ReadFile(p.Log)
	return string(b)
}

// logTails shows the end of every component's log, for a test that failed.
func (e *Env) logTails() {
	logs, _ := filepath.Glob(filepath.Join(e.Dir, "log", "*.log"))
	for _, n := range e.nodes {
		more, _ := filepath.Glob(filepath.Join(n.Dir, "log", "*.log"))
		logs = append(logs, more...)
	}
	slices.Sort(logs)
	for _, path := range logs {
		lines := 25
		if strings.HasPrefix(filepath.Base(path), "agent") {
			lines = 120
		}
		e.t.Logf("--- end of %s\n%s", strings.TrimPrefix(path, e.Dir), tail(path, lines))
	}
	if dir := os.Getenv("MINIKUBELET_TEST_LOGS"); dir != "" {
		to := filepath.Join(dir, strings.ReplaceAll(e.t.Name(), "/", "_"))
		for _, n := range e.nodes {
			_ = os.CopyFS(filepath.Join(to, filepath.Base(n.Dir)), os.DirFS(filepath.Join(n.Dir, "log")))
		}
		if err := os.CopyFS(to, os.DirFS(filepath.Join(e.Dir, "log"))); err == nil {
			e.t.Logf("all logs are in %s", to)
		}
	}
}

func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// grep is the lines of a log that contain a text.
func grep(path, text string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.Join(slices.DeleteFunc(strings.Split(string(b), "\n"), func(line string) bool { return !strings.Contains(line, text) }), "\n")
}
