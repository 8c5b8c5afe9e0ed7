package main

import (
	"github.com/spf13/cobra"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/config/disk"
)

// newConfigCommand prints what the agent would go by if it were run with the same flags.
func newConfigCommand() *cobra.Command {
	flags := config.NewFlags()
	var output string
	cmd := &cobra.Command{
		Use:   "config [-o yaml|json] [the agent's flags]",
		Short: "print the effective configuration, and where each value came from",
		Long: "config reads the files and flags that the agent would read and prints what is in force: YAML that --config takes,\n" +
			"with the origin of each value behind it (default, file:line, or the flag). It asks no running agent.",
		Example: "  minikubelet config --config=/etc/minikubelet/config.yaml --config-dir=/etc/minikubelet/conf.d --max-pods=50",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "yaml" && output != "json" {
				return usage("-o %q: must be yaml or json", output)
			}
			loaded, err := config.Load(flags, disk.Files())
			if err != nil {
				return usage("%w", err)
			}
			show := loaded.YAML
			if output == "json" {
				show = loaded.JSON
			}
			text, err := show()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "yaml or json")
	cmd.Flags().AddFlagSet(flags.FlagSet)
	return cmd
}
