package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// getOptions is what get was asked for.
type getOptions struct {
	client    *client
	namespace string
	selector  string
	output    string
	watch     bool
	headless  bool
	names     []string
	out       screen
	errOut    io.Writer
}

func newGetCommand() *cobra.Command {
	var o getOptions
	var all bool
	cmd := &cobra.Command{
		Use:   "get pods|events|node [NAME...]",
		Short: "show the pods of this node, what happened to them, or the node",
		Long: "Show the pods of this node, what happened to them, or the node itself.\n\n" +
			"A pod of a file may be named with or without the node's name at its end. Events are those of all pods and of the\n" +
			"node, or of the pods that are named.",
		Example: "  minikubelet get pods\n  minikubelet get pods -w\n  minikubelet get pods web -o yaml\n" +
			"  minikubelet get events -n kube-system\n  minikubelet get node -o wide",
		Args:              arguments(1, -1, "pods, events or node"),
		ValidArgsFunction: completeGet,
	}
	socket := socketFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "one namespace; all by default")
	f.BoolVarP(&all, "all-namespaces", "A", false, "all namespaces, which is the default")
	f.StringVarP(&o.selector, "selector", "l", "", "those with these labels, such as app=web,tier!=test")
	f.StringVarP(&o.output, "output", "o", "", "json, yaml, name or wide; a table by default")
	f.BoolVarP(&o.watch, "watch", "w", false, "go on and show each change")
	f.BoolVar(&o.headless, "no-headers", false, "tables without their first line")
	completeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.client, o.names, o.out, o.errOut = newClient(*socket), args[1:], newScreen(cmd.OutOrStdout()), cmd.ErrOrStderr()
		if !slices.Contains(outputs(), cmp.Or(o.output, "wide")) {
			return Usage("-o %s: give json, yaml, name or wide", o.output)
		}
		if all && o.namespace != "" {
			return Usage("give -A or -n %s, not both", o.namespace)
		}
		if _, err := labels.Parse(o.selector); err != nil {
			return Usage("-l %s: %w", o.selector, err)
		}
		switch args[0] {
		case "pods", "pod", "po":
			return o.pods(cmd.Context())
		case "events", "event", "ev":
			return o.events(cmd.Context())
		case "node", "nodes", "no":
			return o.node(cmd.Context())
		}
		return Usage("get %s: give pods, events or node", args[0])
	}
	return cmd
}

func (o *getOptions) query() url.Values {
	q := url.Values{}
	if o.selector != "" {
		q.Set("labelSelector", o.selector)
	}
	return q
}

func (o *getOptions) pods(ctx context.Context) error {
	if o.watch {
		return o.watchPods(ctx)
	}
	var list v1.PodList
	if err := o.client.get(ctx, objectsPath(o.namespace, "pods"), o.query(), &list); err != nil {
		return err
	}
	err := o.missing(list.Items)
	list.Items = slices.DeleteFunc(list.Items, func(p v1.Pod) bool { return !o.wanted(&p) })
	switch {
	case err != nil && len(list.Items) == 0:
		return err
	case o.forMachines() && len(o.names) == 1 && len(list.Items) == 1:
		list.Items[0].Kind, list.Items[0].APIVersion = "Pod", "v1"
		return o.encode(list.Items[0])
	case o.forMachines():
		return errors.Join(o.encode(list), err)
	case o.output == "name":
		for _, p := range list.Items {
			fmt.Fprintln(o.out.w, "pod/"+p.Name)
		}
		return err
	case len(list.Items) == 0:
		fmt.Fprintln(o.errOut, "no pods on this node")
		return nil
	}
	return errors.Join(o.podTable(o.out, list.Items, false), err)
}

// wanted reports whether a pod is one of those that were named.
func (o *getOptions) wanted(p *v1.Pod) bool {
	return len(o.names) == 0 || slices.ContainsFunc(o.names, func(name string) bool { return isNamed(p, name) })
}

// missing says which of the named pods are not there.
func (o *getOptions) missing(pods []v1.Pod) error {
	var errs []error
	for _, name := range o.names {
		if !slices.ContainsFunc(pods, func(p v1.Pod) bool { return isNamed(&p, name) }) {
			errs = append(errs, notFound("pod %q is not on this node", name))
		}
	}
	return errors.Join(errs...)
}

// isNamed reports whether a pod has a name. That of a static pod may be given without the node's name at its end.
func isNamed(p *v1.Pod, name string) bool {
	return p.Name == name || p.Spec.NodeName != "" && p.Name == name+"-"+strings.ToLower(p.Spec.NodeName)
}

func (o *getOptions) podTable(to screen, pods []v1.Pod, clip bool) error {
	rows := make([][]cell, 0, len(pods))
	for i := range pods {
		rows = append(rows, podRow(&pods[i], o.output == "wide", time.Now()))
	}
	return o.table(to, podHeader(o.output == "wide"), rows, clip)
}

func (o *getOptions) table(to screen, header []string, rows [][]cell, clip bool) error {
	if o.headless {
		header = nil
	}
	return to.table(header, rows, clip)
}

func (o *getOptions) events(ctx context.Context) error {
	if o.watch {
		return o.watchEvents(ctx)
	}
	var list v1.EventList
	if err := o.client.get(ctx, objectsPath(o.namespace, "events"), nil, &list); err != nil {
		return err
	}
	list.Items = slices.DeleteFunc(list.Items, func(e v1.Event) bool { return !o.about(&e) })
	switch {
	case o.forMachines():
		return o.encode(list)
	case o.output == "name":
		for _, e := range list.Items {
			fmt.Fprintln(o.out.w, "event/"+e.Name)
		}
		return nil
	case len(list.Items) == 0:
		fmt.Fprintln(o.errOut, "no events")
		return nil
	}
	var rows [][]cell
	for i := range list.Items {
		rows = append(rows, eventRow(&list.Items[i], time.Now()))
	}
	return o.table(o.out, eventHeader(), rows, false)
}

// about reports whether an event is about one of the pods that were named.
func (o *getOptions) about(e *v1.Event) bool {
	object := e.InvolvedObject.Name
	return len(o.names) == 0 || slices.ContainsFunc(o.names, func(name string) bool {
		return object == name || e.Source.Host != "" && object == name+"-"+strings.ToLower(e.Source.Host)
	})
}

func eventHeader() []string { return []string{"AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"} }

func eventRow(e *v1.Event, now time.Time) []cell {
	age := duration.HumanDuration(now.Sub(e.LastTimestamp.Time))
	if e.Count > 1 {
		age = fmt.Sprintf("%s (x%d)", age, e.Count)
	}
	object := strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name
	row := cells(age, e.Type, e.Reason, object, strings.Join(strings.Fields(e.Message), " "))
	if e.Type == v1.EventTypeWarning {
		row[1].colour = yellow
	}
	return row
}

func (o *getOptions) forMachines() bool { return o.output == "json" || o.output == "yaml" }

func (o *getOptions) encode(v any) error { return encode(o.out.w, o.output, v) }

func encode(w io.Writer, format string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil && format == "yaml" {
		b, err = yaml.Marshal(v)
		b = append([]byte("---\n"), bytes.TrimSuffix(b, []byte("\n"))...)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
