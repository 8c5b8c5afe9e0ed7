package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/version"

	"github.com/minikubelet/minikubelet/pkg/server"
)

// versions are those of this program and of the agent that runs; they differ after an upgrade without a restart.
type versions struct {
	Minikubelet version.Info  `json:"minikubelet"`
	Agent       *version.Info `json:"agent,omitempty"` // of the agent that answers, if one does
}

func newVersionCommand(own string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "print the version of this program, and of the agent that runs", Args: arguments(0, 0, "no arguments"),
	}
	socket := socketFlag(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json or yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains([]string{"", "json", "yaml"}, output) {
			return Usage("-o %s: give json or yaml", output)
		}
		v := versions{Minikubelet: server.VersionInfo(own)}
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		var agent version.Info
		if newClient(*socket).get(ctx, "/version", nil, &agent) == nil { // without an agent there is one version
			v.Agent = &agent
		}
		if output != "" {
			return encode(cmd.OutOrStdout(), output, v)
		}
		lines := []string{"minikubelet " + own}
		if v.Agent != nil {
			lines = append(lines, "agent "+v.Agent.GitVersion)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, "\n"))
		return err
	}
	return cmd
}
