// Command minikubelet is the node agent. Run with no subcommand, it is the agent; its subcommands are for the person at
// the node.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/minikubelet/minikubelet/cmd/minikubelet/cli"
	"github.com/minikubelet/minikubelet/cmd/minikubelet/setup"
	"github.com/minikubelet/minikubelet/pkg/systemd"
)

// version is set by the linker. Nodes report it, and an API server wants it to be the version of Kubernetes.
var version = "v1.36.3"

func main() {
	klog.SetSlogLogger(slog.Default())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil && err.Error() != "" {
		systemd.Complain(err)
	}
	os.Exit(cli.Code(err))
}

func newRootCommand() *cobra.Command {
	root := newAgentCommand()
	root.Flags().Bool("version", false, "print the version of Kubernetes that this agent stands in for, and end")
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.Usage("%w", err) })
	root.AddCommand(newConfigCommand())
	root.AddCommand(cli.Commands(version)...)
	root.AddCommand(setup.Commands(purge)...)
	return root
}

// usage is for the commands that are here.
func usage(format string, args ...any) error { return cli.Usage(format, args...) }
