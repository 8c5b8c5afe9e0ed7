package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/server"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// newValidateCommand checks manifests with the rules that the agent holds them to, and with what its node has.
func newValidateCommand() *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "validate FILE|DIRECTORY|-...",
		Short: "check manifests as the agent would, and what this node lacks for them",
		Long: "Check manifests as the agent would: Pods and the ConfigMaps, Secrets, PersistentVolumes and PersistentVolumeClaims\n" +
			"that they use. Each problem is one line with its file, document, line and field. \"-\" is the standard input; of a\n" +
			"directory, the files count that the agent would read.\n\n" +
			"When the agent runs, it is asked what the node lacks: room beside the pods that run, objects and keys that neither the\n" +
			"files nor the node have, images that may not be pulled and are not there, paths of the host.\n\n" +
			"Exit code: 0 all is well, 1 there are problems, 2 the command cannot be understood.",
		Example: "  minikubelet validate web.yaml settings.yaml\n  minikubelet validate /etc/kubernetes/manifests\n  minikubelet validate - < web.yaml",
		Args:    arguments(1, -1, "the files to check, or - for the standard input"),
	}
	socket := socketFlag(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "check the rules alone; do not ask what the node has")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v := validation{node: "node", in: cmd.InOrStdin(), out: cmd.OutOrStdout()}
		var c *client
		if !offline {
			c = newClient(*socket)
			if n, err := theNode(cmd.Context(), c); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "minikubelet: what this node lacks is not checked: %v\n", err)
				c = nil
			} else {
				v.node = n.Name
			}
		}
		return v.run(cmd.Context(), args, c)
	}
	return cmd
}

// validation checks a number of files.
type validation struct {
	node string // name of the node that static pods get at the end of theirs
	in   io.Reader
	out  io.Writer

	files []checked
}

// checked is what a file holds.
type checked struct {
	name     string
	objects  []manifest.Object
	problems []manifest.Problem
}

// run checks all files by the rules and then, with an agent to ask, all pods that keep them beside each other.
func (v *validation) run(ctx context.Context, names []string, c *client) error {
	for _, name := range names {
		v.add(name)
	}
	if c != nil {
		if err := v.ask(ctx, c); err != nil {
			return err
		}
	}
	problems := 0
	for _, f := range v.files {
		for _, p := range f.problems {
			fmt.Fprintln(v.out, p)
		}
		problems += len(f.problems)
		if len(f.problems) == 0 {
			fmt.Fprintf(v.out, "%s: ok, %s\n", f.name, count(len(f.objects), "object"))
		}
	}
	if problems > 0 {
		return errors.New(count(problems, "problem"))
	}
	return nil
}

// add reads a file, or the files of a directory that an agent would read there.
func (v *validation) add(name string) {
	entries, err := os.ReadDir(name)
	if name == "-" || err != nil {
		v.files = append(v.files, v.read(name))
		return
	}
	for _, e := range entries {
		hidden := strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "#")
		if !e.IsDir() && !hidden && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			v.files = append(v.files, v.read(filepath.Join(name, e.Name())))
		}
	}
}

func (v *validation) read(name string) checked {
	in, shown := v.in, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return checked{name: name, problems: []manifest.Problem{{Name: name, Text: fmt.Sprintf("cannot read it: %v", errors.Unwrap(err))}}}
		}
		defer f.Close()
		in, shown = f, name
	}
	c := checked{name: name}
	data, err := io.ReadAll(io.LimitReader(in, manifest.MaxSize+1))
	if err != nil {
		c.problems = []manifest.Problem{{Name: shown, Text: fmt.Sprintf("cannot read it: %v", err)}}
		return c
	}
	c.objects, c.problems = manifest.Decode(data, manifest.Origin{Source: pod.SourceFile, Name: shown, Node: v.node})
	return c
}

// ask adds what the node lacks to the problems of the files.
func (v *validation) ask(ctx context.Context, c *client) error {
	type place struct{ file, document int }
	var places []place
	var p server.Proposal
	for i, f := range v.files {
		for _, o := range f.objects {
			switch x := o.Object.(type) {
			case *v1.Pod:
				p.Pods = append(p.Pods, *x)
				places = append(places, place{i, o.Document})
			case *v1.ConfigMap:
				p.ConfigMaps = append(p.ConfigMaps, *x)
			case *v1.Secret:
				p.Secrets = append(p.Secrets, *x)
			case *v1.PersistentVolumeClaim:
				p.Claims = append(p.Claims, *x)
			}
		}
	}
	if len(p.Pods) == 0 {
		return nil
	}
	var lacks []server.Lack
	if err := c.post(ctx, "/minikubelet/v1/check", p, &lacks); err != nil {
		return err
	}
	for _, l := range lacks {
		if l.Pod < 0 || l.Pod >= len(places) {
			return errors.New("the agent's answer cannot be understood: is it of another version?")
		}
		f := &v.files[places[l.Pod].file]
		f.problems = append(f.problems, manifest.Problem{
			Source: pod.SourceFile, Name: f.name, Document: places[l.Pod].document, Field: l.Field, Text: l.Text,
		})
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
