package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

const (
	// finishTime is what a plugin has to finish when its request is given up: one that is killed half-way may leave what no DEL
	// finds, as host-local does with an address whose owner it had not written yet.
	finishTime = 3 * time.Second
	// killDelay is how long the pipes of a plugin are waited for after it was killed.
	killDelay = time.Second
)

// maxStderr is how much of a failed plugin's standard error goes into its error, in bytes, counted from the end.
const maxStderr = 2048

// plugins runs plugin binaries for libcni. Each runs in a process group of its own, so that a deadline also ends what
// it started (bridge starts host-local, that a killed bridge would leave behind), and inherits the container's lock.
type plugins struct {
	version.PluginDecoder
	lock *lock // nil for commands that belong to no container
}

// FindInPath implements invoke.Exec.
func (*plugins) FindInPath(plugin string, dirs []string) (string, error) {
	path, err := invoke.FindInPath(plugin, dirs)
	if err != nil {
		return "", missingPlugin(plugin, dirs)
	}
	return path, nil
}

// ExecPlugin implements invoke.Exec: it returns what the plugin printed, or its error.
func (p *plugins) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path)
	var stdout, stderr bounded
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, bytes.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var kill *time.Timer
	cmd.Cancel = func() error {
		kill = time.AfterFunc(finishTime, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return os.ErrProcessDone // as a plugin that ends by itself
	}
	cmd.WaitDelay = finishTime + killDelay
	if p.lock != nil {
		cmd.ExtraFiles = []*os.File{p.lock.f}
	}
	err := cmd.Run()
	if kill != nil {
		kill.Stop()
	}
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("cannot finish plugin %s in time, it was killed: %w", path, context.Cause(ctx))
	}
	var e types.Error
	if json.Unmarshal(stdout.Bytes(), &e) == nil && (e.Msg != "" || e.Code != 0) {
		return nil, &e
	}
	said := strings.TrimSpace(string(tail(stderr.Bytes(), maxStderr)) + " " + string(tail(stdout.Bytes(), maxStderr)))
	return nil, types.NewError(types.ErrInternal, fmt.Sprintf("plugin %s: %v: %q", path, err, said), "")
}

func missingPlugin(plugin string, dirs []string) error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("cannot find the CNI plugin %q in %s: install it "+
		"(Debian, Ubuntu and Fedora: the package containernetworking-plugins) or name its directory in network.binDir",
		plugin, strings.Join(dirs, ", ")), "")
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// bounded is a buffer that refuses to grow beyond MaxRequest. It does not embed the buffer: ReadFrom would pass the bound.
type bounded struct{ b bytes.Buffer }

var errTooMuch = errors.New("the plugin printed more than 1 MiB")

func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > MaxRequest {
		return 0, errTooMuch
	}
	return w.b.Write(p)
}

func (w *bounded) Bytes() []byte { return w.b.Bytes() }
