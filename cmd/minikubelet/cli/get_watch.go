package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// watchPods shows each change: on a terminal as a table that is redrawn in place, elsewhere as lines.
func (o *getOptions) watchPods(ctx context.Context) error {
	pods := map[string]v1.Pod{}
	drawn := 0
	return follow(ctx, o.client, objectsPath(o.namespace, "pods"), o.query(), func(kind watch.EventType, p *v1.Pod) (err error) {
		switch {
		case !o.wanted(p):
			return nil
		case o.forMachines():
			return o.encode(map[string]any{"type": kind, "object": p})
		case o.output == "name":
			_, err := fmt.Fprintln(o.out.w, "pod/"+p.Name)
			return err
		case o.out.height == 0:
			row := podRow(p, o.output == "wide", time.Now())
			if kind == watch.Deleted {
				row = append(row, cell{text: "(gone)"})
			}
			return o.out.row(row)
		}
		pods[string(p.UID)] = *p
		if kind == watch.Deleted {
			delete(pods, string(p.UID))
		}
		drawn, err = o.redraw(pods, drawn)
		return err
	})
}

// redraw replaces the table that was drawn before, of so many lines, and returns the number of lines drawn. What does not
// fit on the terminal is counted.
func (o *getOptions) redraw(pods map[string]v1.Pod, before int) (int, error) {
	sorted := slices.SortedFunc(maps.Values(pods), func(a, b v1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	now := newScreen(o.out.w) // the window may have another size
	more := 0
	if room := max(now.height-3, 1); len(sorted) > room {
		more = len(sorted) - room
		sorted = sorted[:room]
	}
	var b bytes.Buffer
	if before > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", min(before, max(now.height-1, 1)))
	}
	to := now
	to.w = &b
	if err := o.podTable(to, sorted, true); err != nil {
		return 0, err
	}
	if more > 0 {
		fmt.Fprintf(&b, "and %s that do not fit here\n", count(more, "more pod"))
	}
	_, err := o.out.w.Write(b.Bytes())
	return bytes.Count(b.Bytes(), []byte("\n")), err
}

func (o *getOptions) watchEvents(ctx context.Context) error {
	return follow(ctx, o.client, objectsPath(o.namespace, "events"), o.query(), func(_ watch.EventType, e *v1.Event) error {
		switch {
		case !o.about(e):
			return nil
		case o.forMachines():
			return o.encode(e)
		case o.output == "name":
			_, err := fmt.Fprintln(o.out.w, "event/"+e.Name)
			return err
		}
		return o.out.row(eventRow(e, time.Now()))
	})
}

func (o *getOptions) watchNode(ctx context.Context) error {
	return follow(ctx, o.client, "/api/v1/nodes", o.query(), func(_ watch.EventType, n *v1.Node) error {
		switch {
		case o.forMachines():
			return o.encode(n)
		case o.output == "name":
			_, err := io.WriteString(o.out.w, "node/"+n.Name+"\n")
			return err
		}
		return o.out.row(nodeRow(n, o.output == "wide", time.Now()))
	})
}
