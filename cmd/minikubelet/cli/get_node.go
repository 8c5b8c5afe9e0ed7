package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

func (o *getOptions) node(ctx context.Context) error {
	if o.watch {
		return o.watchNode(ctx)
	}
	n, err := theNode(ctx, o.client)
	if err != nil {
		return err
	}
	for _, name := range o.names {
		if name != n.Name {
			return notFound("node %q is not this node, which is %s", name, n.Name)
		}
	}
	switch {
	case o.forMachines():
		return o.encode(n)
	case o.output == "name":
		_, err := fmt.Fprintln(o.out.w, "node/"+n.Name)
		return err
	}
	if err := o.table(o.out, nodeHeader(o.output == "wide"), [][]cell{nodeRow(n, o.output == "wide", time.Now())}, false); err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if bad := c.Type != v1.NodeReady && c.Status == v1.ConditionTrue || c.Type == v1.NodeReady && c.Status == v1.ConditionFalse; bad {
			fmt.Fprintf(o.errOut, "%s: %s: %s\n", c.Type, c.Reason, c.Message)
		}
	}
	return nil
}

// theNode is the node of the agent.
func theNode(ctx context.Context, c *client) (*v1.Node, error) {
	var list v1.NodeList
	if err := c.get(ctx, "/api/v1/nodes", nil, &list); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, notFound("the agent knows no node yet")
	}
	n := &list.Items[0]
	n.Kind, n.APIVersion = "Node", "v1"
	return n, nil
}

func nodeHeader(wide bool) []string {
	h := []string{"NAME", "STATUS", "AGE", "VERSION", "IP", "CPU", "MEMORY", "PODS"}
	if wide {
		h = append(h, "OS", "KERNEL", "RUNTIME")
	}
	return h
}

func nodeRow(n *v1.Node, wide bool, now time.Time) []cell {
	age := "-"
	if !n.CreationTimestamp.IsZero() {
		age = duration.HumanDuration(now.Sub(n.CreationTimestamp.Time))
	}
	a, info := n.Status.Allocatable, n.Status.NodeInfo
	state, c := nodeState(n)
	row := cells(n.Name, state, age, orDash(info.KubeletVersion), orDash(nodeAddress(n)), a.Cpu().String(),
		bytesText(a.Memory().Value()), a.Pods().String())
	row[1].colour = c
	if wide {
		row = append(row, cells(orDash(info.OSImage), orDash(info.KernelVersion), orDash(info.ContainerRuntimeVersion))...)
	}
	return row
}

func nodeState(n *v1.Node) (string, colour) {
	state, c := "Unknown", yellow
	for _, cond := range n.Status.Conditions {
		switch {
		case cond.Type == v1.NodeReady && cond.Status == v1.ConditionTrue:
			state, c = "Ready", green
		case cond.Type == v1.NodeReady:
			state, c = "NotReady", red
		}
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type != v1.NodeReady && cond.Status == v1.ConditionTrue {
			state, c = state+","+string(cond.Type), red
		}
	}
	if n.Spec.Unschedulable {
		state += ",SchedulingDisabled"
	}
	return state, c
}

func nodeAddress(n *v1.Node) string {
	i := slices.IndexFunc(n.Status.Addresses, func(a v1.NodeAddress) bool { return a.Type == v1.NodeInternalIP })
	if i < 0 {
		return ""
	}
	return n.Status.Addresses[i].Address
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const unit = 1024
	for _, u := range []struct {
		size int64
		name string
	}{{unit * unit * unit * unit, "TiB"}, {unit * unit * unit, "GiB"}, {unit * unit, "MiB"}, {unit, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
