package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minikubelet/minikubelet/cmd/minikubelet/cli"
)

// Commands are install and uninstall. purge stops every pod that an agent with this configuration file has and removes
// what the agent keeps on the machine.
func Commands(purge func(ctx context.Context, configFile string, out io.Writer) error) []*cobra.Command {
	return []*cobra.Command{newInstallCommand(), newUninstallCommand(purge)}
}

func newInstallCommand() *cobra.Command {
	var m installation
	var now bool
	cmd := &cobra.Command{
		Use:   "install [--now]",
		Short: "make the agent a service of this machine",
		Long: "Make the agent a service of this machine: " + unitPath + ", " + configPath + "\n" +
			"with every field, its default and what it means, the directories that they name, and the program itself in\n" + binaryPath +
			" unless it is where programs are. What a person wrote or changed is never replaced.",
		Example: "  minikubelet install --now\n  minikubelet install --root ./image",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := m.prepare(cmd); err != nil {
				return err
			}
			if now && m.Systemctl == nil {
				return cli.Usage("--now: no systemd runs here: leave it away")
			}
			return m.install(cmd.Context(), now)
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "start it, and begin with the machine from now on")
	cmd.Flags().BoolVar(&m.Force, "force", false, "replace files that an earlier version wrote and nobody changed")
	rootFlag(cmd, &m)
	return cmd
}

func newUninstallCommand(purge func(context.Context, string, io.Writer) error) *cobra.Command {
	var m installation
	var all bool
	cmd := &cobra.Command{
		Use:   "uninstall [--purge]",
		Short: "undo install; what a person wrote or changed stays",
		Long: "Undo install: the service is stopped, and the files that install wrote are removed unless somebody changed them.\n" +
			"Containers go on running, and what the agent knows of them stays, so that it can be installed again. With --purge the\n" +
			"pods are stopped first, as if their manifests were taken away, and everything that the agent made is removed. Manifests\n" +
			"and image archives stay: they are yours.",
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := m.prepare(cmd); err != nil {
				return err
			}
			if !all {
				return m.uninstall(cmd.Context(), nil)
			}
			if m.Root != "" {
				return cli.Usage("--purge: give no --root: pods run on this machine alone")
			}
			return m.uninstall(cmd.Context(), func(ctx context.Context) error { return purge(ctx, m.at(configPath), m.Out) })
		},
	}
	cmd.Flags().BoolVar(&all, "purge", false, "stop all pods and remove what the agent made")
	rootFlag(cmd, &m)
	return cmd
}

func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return cli.Usage("%s: takes no arguments", cmd.Name())
	}
	return nil
}

func rootFlag(cmd *cobra.Command, m *installation) {
	cmd.Flags().StringVar(&m.Root, "root", "", "a directory that stands for the machine, as when a package or an image is made")
}

func (m *installation) prepare(cmd *cobra.Command) error {
	m.Out = cmd.OutOrStdout()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find the running program: %w", err)
	}
	m.Program = program
	if m.Root != "" {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("cannot change this machine: run this as root")
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil { // sd_booted(3)
		m.Systemctl = systemctl
	}
	return nil
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot run systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
