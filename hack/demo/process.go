package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	imagev1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
)

const (
	webImage     = "minikubelet.dev/examples/web:1"
	bridge       = "minikubelet0" // the agent's own
	secondBridge = "mkdemo0"      // the demo's, beside an agent that runs already
)

// process is a program that the demo started, with its output in a file.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error
}

func start(log, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(program, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo alone
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), out.Close())
		close(p.done)
	}()
	return p, nil
}

// until polls f, and gives up at once when the process has ended.
func (p *process) until(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return poll(ctx, what, func() error {
		select {
		case <-p.done:
			cancel()
			return fmt.Errorf("%s has ended: %w", filepath.Base(p.cmd.Path), p.err)
		default:
			return f()
		}
	})
}

// stop ends the process, by force when it does not obey.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-p.done
	}
	return nil
}

func poll(ctx context.Context, what string, f func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		case <-tick.C:
		}
	}
}

func dial(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return c.Close()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// packImage builds the examples' program and puts it, as an OCI archive, where the agent preloads images from.
func (n *node) packImage(ctx context.Context) error {
	program := n.path("web")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./examples/web")
	build.Dir, build.Stderr = n.repo, os.Stderr
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		return fmt.Errorf("cannot build the examples' program: %w", err)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	return ociarchive.WriteFile(n.path("root", "images", "web.tar"), ociarchive.Image{
		Ref: webImage, Files: []ociarchive.File{{Path: "/web", Content: b, Mode: 0o755}},
		Config: imagev1.ImageConfig{Entrypoint: []string{"/web"}},
	})
}

// explain shows the end of the logs of what failed.
func (n *node) explain() {
	for _, p := range []*process{n.containerd, n.agent} {
		if p == nil {
			continue
		}
		b, err := os.ReadFile(p.log)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		fmt.Fprintf(os.Stderr, "--- %s\n", p.log)
		for _, l := range lines[max(0, len(lines)-30):] {
			fmt.Fprintln(os.Stderr, l[:min(len(l), 400)])
		}
	}
}

// remove ends everything and takes away what it made: processes, mounts, bridges, cgroups, directories.
func (n *node) remove() error {
	errs := []error{n.agent.stop(), n.containerd.stop(), n.killShims(), n.unmount()}
	mine := bridge
	if n.bridgeWasThere {
		mine = secondBridge
	}
	if link, err := netlink.LinkByName(mine); err == nil {
		errs = append(errs, netlink.LinkDel(link))
	}
	for _, glob := range []string{"/sys/fs/cgroup/*/minikubelet-demo", "/sys/fs/cgroup/minikubelet-demo"} {
		roots, err := filepath.Glob(glob)
		errs = append(errs, err)
		for _, root := range roots {
			errs = append(errs, removeCgroups(root))
		}
	}
	for _, d := range n.newDirs { // children before parents; what others have put there stays
		if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

// killShims ends the shims of the demo's own containerd: those that were started on its socket.
func (n *node) killShims() error {
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, f := range cmdlines {
		b, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(b), n.path("c.sock")) || !strings.Contains(string(b), "containerd-shim") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

func (n *node) unmount() error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.dir))
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(mounts) {
		errs = append(errs, unix.Unmount(m.Mountpoint, unix.MNT_DETACH))
	}
	return errors.Join(errs...)
}

func removeCgroups(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, d := range slices.Backward(dirs) {
		err = errors.Join(err, os.Remove(d))
	}
	return err
}
