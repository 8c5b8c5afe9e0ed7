package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

func describeNode(w io.Writer, n *v1.Node, pods []v1.Pod, events []v1.Event, now time.Time) error {
	t := newPage(w)
	state, _ := nodeState(n)
	info := n.Status.NodeInfo
	t.line("Name", "%s", n.Name)
	t.line("Status", "%s", state)
	t.list("Labels", pairs(n.Labels))
	var taints, addresses []string
	for _, x := range n.Spec.Taints {
		taints = append(taints, x.ToString())
	}
	for _, a := range n.Status.Addresses {
		addresses = append(addresses, string(a.Type)+" "+a.Address)
	}
	t.list("Taints", taints)
	t.list("Addresses", addresses)
	t.line("Version", "%s", info.KubeletVersion)
	t.line("System", "%s, Linux %s, %s", info.OSImage, info.KernelVersion, info.Architecture)
	t.line("Runtime", "%s", info.ContainerRuntimeVersion)
	t.line("Machine ID", "%s", info.MachineID)
	t.line("Boot ID", "%s", info.BootID)
	describeRoom(t, n, pods)
	fmt.Fprintln(t, "Conditions:")
	for _, c := range n.Status.Conditions {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", c.Type, c.Status, strings.TrimSpace(c.Reason+" "+c.Message))
	}
	t.events(events, now)
	return t.Flush()
}

// describeRoom shows what the node has, what pods may use of it and what they ask for.
func describeRoom(t page, n *v1.Node, pods []v1.Pod) {
	asked, running := v1.ResourceList{}, 0
	for i := range pods {
		if pod.IsOver(&pods[i]) {
			continue
		}
		running++
		for name, q := range resources.Requests(&pods[i]) {
			sum := asked[name]
			sum.Add(q)
			asked[name] = sum
		}
	}
	fmt.Fprintln(t, "Resources:\tof the node\tfor pods\trequested")
	for _, name := range slices.Sorted(maps.Keys(n.Status.Capacity)) {
		requested := quantity(name, asked[name])
		if name == v1.ResourcePods {
			requested = fmt.Sprint(running)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", name, quantity(name, n.Status.Capacity[name]), quantity(name, n.Status.Allocatable[name]), requested)
	}
}
