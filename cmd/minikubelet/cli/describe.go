package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
)

func newDescribeCommand() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:               "describe pod NAME... | node",
		Short:             "tell everything about a pod or the node: what it is, what it waits for, what happened to it",
		Example:           "  minikubelet describe pod web\n  minikubelet describe node",
		Args:              arguments(1, -1, "pod and its name, or node"),
		ValidArgsFunction: completeDescribe,
	}
	socket := socketFlag(cmd)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "the pod's namespace; found by name by default")
	completeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := newClient(*socket)
		switch kind, names := args[0], args[1:]; kind {
		case "pod", "pods", "po":
			if len(names) == 0 {
				return Usage("describe pod: give the pod's name")
			}
			var errs []error
			for i, name := range names {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				errs = append(errs, describeOne(cmd.Context(), c, cmd.OutOrStdout(), namespace, name))
			}
			return errors.Join(errs...)
		case "node", "nodes", "no":
			return describeTheNode(cmd.Context(), c, cmd.OutOrStdout(), names)
		}
		return Usage("describe %s: give pod or node", args[0])
	}
	return cmd
}

func describeOne(ctx context.Context, c *client, w io.Writer, namespace, name string) error {
	p, err := findPod(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	var events v1.EventList
	q := url.Values{"fieldSelector": {"involvedObject.kind=Pod,involvedObject.name=" + p.Name}}
	if err := c.get(ctx, objectsPath(p.Namespace, "events"), q, &events); err != nil {
		return err
	}
	return describePod(w, p, events.Items, time.Now())
}

func describeTheNode(ctx context.Context, c *client, w io.Writer, names []string) error {
	n, err := theNode(ctx, c)
	if err != nil {
		return err
	}
	if len(names) > 1 || len(names) == 1 && names[0] != n.Name {
		return notFound("this node is %s: describe node needs no name", n.Name)
	}
	var pods v1.PodList
	var events v1.EventList
	err = errors.Join(c.get(ctx, "/api/v1/pods", nil, &pods),
		c.get(ctx, "/api/v1/events", url.Values{"fieldSelector": {"involvedObject.kind=Node"}}, &events))
	if err != nil {
		return err
	}
	return describeNode(w, n, pods.Items, events.Items, time.Now())
}

// findPod finds one pod by its name, in any namespace when none is given.
func findPod(ctx context.Context, c *client, namespace, name string) (*v1.Pod, error) {
	var list v1.PodList
	if err := c.get(ctx, objectsPath(namespace, "pods"), nil, &list); err != nil {
		return nil, err
	}
	var found []*v1.Pod
	for i := range list.Items {
		p := &list.Items[i]
		if isNamed(p, name) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return nil, notFound("pod %q is not on this node: see minikubelet get pods", name)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d pods are named %q: name the namespace with -n", len(found), name)
}

// page writes what is described: keys and values, one below the other.
type page struct{ *tabwriter.Writer }

func newPage(w io.Writer) page { return page{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)} }

func (p page) line(key, format string, args ...any) {
	fmt.Fprintf(p, "%s:\t%s\n", key, cmp.Or(fmt.Sprintf(format, args...), "-"))
}

// list writes one line for each text, the key before the first. Without any there is no line.
func (p page) list(key string, texts []string) {
	for i, t := range texts {
		if i == 0 {
			fmt.Fprintf(p, "%s:\t%s\n", key, t)
			continue
		}
		fmt.Fprintf(p, "\t%s\n", t)
	}
}

func (p page) events(events []v1.Event, now time.Time) {
	if len(events) == 0 {
		p.line("Events", "none")
		return
	}
	fmt.Fprintln(p, "Events:")
	for i := range events {
		row := eventRow(&events[i], now)
		fmt.Fprintf(p, "  %s\t%s\t%s\t%s\n", row[0].text, row[1].text, row[2].text, row[4].text)
	}
}
