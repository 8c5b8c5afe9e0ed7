package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Exit codes of every command but exec, which gives that of the program that it ran.
const (
	exitOK       = 0
	exitFailed   = 1 // the command failed, or validate found problems
	exitUsage    = 2 // the command line cannot be understood
	exitNotFound = 3 // the agent has no such pod, container or object
	exitNoAgent  = 4 // no agent answers on the socket, or it may not be asked
)

// failure is an error with the exit code that tells it to scripts. Without an Err, everything was said already.
type failure struct {
	Code int
	Err  error
}

func (e *failure) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *failure) Unwrap() error { return e.Err }

// Code is the exit code of what a command returned.
func Code(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*failure](err); ok {
		return e.Code
	}
	return exitFailed
}

// errUsage marks an error in how a command was called.
var errUsage error = &failure{Code: exitUsage, Err: errors.New("usage")}

// Usage is an error in how a command was called.
func Usage(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...)
}

func notFound(format string, args ...any) error {
	return &failure{Code: exitNotFound, Err: fmt.Errorf(format, args...)}
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
