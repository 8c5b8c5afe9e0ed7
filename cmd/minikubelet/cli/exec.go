package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Exit codes of exec beside those of the program that it runs, as other programs that run programs have them.
const (
	exitExecFailed = 125 // the agent cannot be asked, or has no such pod
	exitNotRun     = 126 // the program could not be started, or the session broke off
)

// session is what exec and attach have in common.
type session struct {
	namespace, container string
	stdin, tty           bool
}

func (s *session) flags(cmd *cobra.Command) *string {
	f := cmd.Flags()
	f.StringVarP(&s.namespace, "namespace", "n", "", "the pod's namespace; found by name by default")
	f.StringVarP(&s.container, "container", "c", "", "the container; the first one by default")
	f.BoolVarP(&s.stdin, "stdin", "i", false, "pass the standard input on")
	f.BoolVarP(&s.tty, "tty", "t", false, "give it a terminal")
	socket := socketFlag(cmd)
	completeFlags(cmd)
	return socket
}

func newExecCommand() *cobra.Command {
	var s session
	cmd := &cobra.Command{
		Use:   "exec POD [-c CONTAINER] [-i] [-t] -- COMMAND [ARGUMENT...]",
		Short: "run a program in a container",
		Long: "Run a program in a container. The exit code is that of the program; 125 when the agent could not be asked or the pod\n" +
			"is not there, 126 when the program could not be started.",
		Example:           "  minikubelet exec web -- ls /\n  minikubelet exec web -c shell -it -- sh",
		Args:              arguments(2, -1, "a pod's name, -- and a command"),
		ValidArgsFunction: completePod,
	}
	socket := s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if dash := cmd.ArgsLenAtDash(); dash != 1 {
			return Usage("exec: give one pod, then -- before the command: minikubelet exec POD -- COMMAND")
		}
		return s.run(cmd, newClient(*socket), args[0], "exec", args[1:])
	}
	return cmd
}

func newAttachCommand() *cobra.Command {
	var s session
	cmd := &cobra.Command{
		Use:               "attach POD [-c CONTAINER] [-i] [-t]",
		Short:             "see what a container writes from now on, and write to it",
		Example:           "  minikubelet attach web -c shell -it",
		Args:              arguments(1, 1, "the pod's name"),
		ValidArgsFunction: completePod,
	}
	socket := s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.run(cmd, newClient(*socket), args[0], "attach", nil)
	}
	return cmd
}

func (s *session) run(cmd *cobra.Command, c *client, name, verb string, command []string) error {
	p, err := findPod(cmd.Context(), c, s.namespace, name)
	if err != nil {
		return &failure{Code: exitExecFailed, Err: err}
	}
	if known, _ := pod.SpecOf(p, s.container); s.container != "" && known == nil {
		return &failure{Code: exitExecFailed, Err: fmt.Errorf("container %q not found in pod %q", s.container, p.Name)}
	}
	in, inTerminal := terminal(cmd.InOrStdin())
	if s.tty && !inTerminal {
		fmt.Fprintln(cmd.ErrOrStderr(), "minikubelet: the standard input is no terminal: going on without -t")
		s.tty = false
	}
	q := url.Values{"command": command, "stdout": {"true"}}
	o := remotecommand.StreamOptions{Stdout: cmd.OutOrStdout(), Tty: s.tty}
	if s.stdin {
		q.Set("stdin", "true")
		o.Stdin = cmd.InOrStdin()
	}
	if s.tty {
		q.Set("tty", "true")
	} else { // a terminal has one output
		q.Set("stderr", "true")
		o.Stderr = cmd.ErrOrStderr()
	}
	if s.container != "" {
		q.Set("container", s.container)
	}
	path := podPath(p.Namespace, p.Name, verb)
	if s.tty {
		return exitOf(withTerminal(cmd.Context(), in, func(sizes remotecommand.TerminalSizeQueue) error {
			o.TerminalSizeQueue = sizes
			return c.stream(cmd.Context(), path, q, o)
		}), p)
	}
	return exitOf(c.stream(cmd.Context(), path, q, o), p)
}

// exitOf makes the exit code of the program that ran ours.
func exitOf(err error, p *v1.Pod) error {
	var e utilexec.ExitError
	var mine *failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && e.Exited():
		return &failure{Code: e.ExitStatus()}
	case errors.As(err, &mine):
		return &failure{Code: exitExecFailed, Err: err}
	}
	return &failure{Code: exitNotRun, Err: fmt.Errorf("pod %s: %w", p.Name, err)}
}

// terminal returns the terminal that r is, if it is one.
func terminal(r io.Reader) (*os.File, bool) {
	f, ok := r.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// withTerminal does something while keys go through to the container untouched, Ctrl-C too, and gives the terminal back.
func withTerminal(ctx context.Context, f *os.File, do func(remotecommand.TerminalSizeQueue) error) (err error) {
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("cannot use the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(int(f.Fd()), before)) }()
	ctx, cancel := context.WithCancel(ctx)
	sizes := make(windowSizes)
	var watching sync.WaitGroup
	watching.Go(func() { sizes.watch(ctx, int(f.Fd())) })
	defer watching.Wait()
	defer cancel()
	return do(sizes)
}

// windowSizes carries the size of the terminal, at first and each time that it changes.
type windowSizes chan remotecommand.TerminalSize

// Next waits for another size; nil: there will be none.
func (s windowSizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

func (s windowSizes) watch(ctx context.Context, fd int) {
	defer close(s)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		if width, height, err := term.GetSize(fd); err == nil {
			select {
			case s <- remotecommand.TerminalSize{Width: uint16(width), Height: uint16(height)}:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
