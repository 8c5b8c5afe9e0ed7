package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Exit codes of every command but exec, which gives that of the program that it ran.
const (
	ExitOK       = 0
	ExitFailed   = 1 // the command failed, or validate found problems
	ExitUsage    = 2 // the command line cannot be understood
	ExitNotFound = 3 // the agent has no such pod, container or object
	ExitNoAgent  = 4 // no agent answers on the socket, or it may not be asked
)

// Error is an error with the exit code that tells it to scripts. Without an Err, everything was said already.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Code is the exit code of what a command returned.
func Code(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ExitFailed
}

// ErrUsage marks an error in how a command was called.
var ErrUsage error = &Error{Code: ExitUsage, Err: errors.New("usage")}

// Usage is an error in how a command was called.
func Usage(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUsage}, args...)...)
}

func notFound(format string, args ...any) error {
	return &Error{Code: ExitNotFound, Err: fmt.Errorf(format, args...)}
}

// Commands are the commands of the person at the node.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{
		newGetCommand(), newDescribeCommand(), newLogsCommand(), newExecCommand(), newAttachCommand(), newValidateCommand(),
		newVersionCommand(version),
	}
}

// arguments takes from least to most positional arguments, and any number when most is negative; what says what to give.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return Usage("%s: give %s: see minikubelet %s --help", cmd.Name(), what, cmd.Name())
		}
		return nil
	}
}
