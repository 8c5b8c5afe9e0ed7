package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/status/show"
)

func outputs() []string { return []string{"json", "yaml", "name", "wide"} }

// patience is how long a shell waits for the agent when it completes a word.
const patience = time.Second

const noFiles = cobra.ShellCompDirectiveNoFileComp

// known are the pods that can be completed to; none when no agent answers.
func known(cmd *cobra.Command) []v1.Pod {
	socket, err := cmd.Flags().GetString("socket")
	if err != nil {
		return nil
	}
	namespace, _ := cmd.Flags().GetString("namespace") // not every command has one: all then
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var list v1.PodList
	if newClient(socket).get(ctx, objectsPath(namespace, "pods"), nil, &list) != nil {
		return nil
	}
	return list.Items
}

func podNames(cmd *cobra.Command, given []string, begin string) []string {
	var out []string
	for _, p := range known(cmd) {
		if strings.HasPrefix(p.Name, begin) && !slices.Contains(given, p.Name) {
			out = append(out, p.Name+"\t"+p.Namespace+", "+show.State(&p))
		}
	}
	return out
}

// completePod completes the one pod of logs, exec and attach.
func completePod(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return podNames(cmd, nil, begin), noFiles
}

// completeGet completes a kind and then names of it.
func completeGet(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []string{"pods\twhat runs here", "events\twhat happened", "node\tthis node"}, noFiles
	}
	if strings.HasPrefix(args[0], "no") {
		return nil, noFiles
	}
	return podNames(cmd, args[1:], begin), noFiles
}

func completeDescribe(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []string{"pod\tone pod", "node\tthis node"}, noFiles
	}
	return completeGet(cmd, args, begin)
}

// completeFlags completes the values of the flags that a command has of -o, -n and -c.
func completeFlags(cmd *cobra.Command) {
	values := map[string]cobra.CompletionFunc{
		"output": func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return outputs(), noFiles },
		"namespace": func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			var out []string
			for _, p := range known(cmd) {
				if !slices.Contains(out, p.Namespace) {
					out = append(out, p.Namespace)
				}
			}
			return out, noFiles
		},
		"container": func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var out []string
			for _, p := range known(cmd) {
				if len(args) == 0 || !isNamed(&p, args[0]) {
					continue
				}
				for _, c := range pod.Spec(&p) {
					out = append(out, c.Name+"\t"+c.Image)
				}
			}
			return out, noFiles
		},
	}
	for name, complete := range values {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // fails only for a flag that is not there, or the second time
		}
	}
}
