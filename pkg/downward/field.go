package downward

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Node is what the downward API tells of the node.
type Node struct {
	IPs         []string        // host addresses, the primary one first
	Allocatable v1.ResourceList // stands in for limits that a container does not have
}

// Field returns the value of a pod's field: metadata.{name,namespace,uid,labels,annotations}, one label or annotation in
// the form metadata.labels['key'], spec.{nodeName,serviceAccountName}, status.{podIP,podIPs,hostIP,hostIPs}. The addresses
// of the pod are given, because a specification has none.
func Field(p *v1.Pod, path string, podIPs []string, n Node) (string, error) {
	switch path {
	case "metadata.name":
		return p.Name, nil
	case "metadata.namespace":
		return p.Namespace, nil
	case "metadata.uid":
		return string(p.UID), nil
	case "metadata.labels":
		return pairs(p.Labels), nil
	case "metadata.annotations":
		return pairs(p.Annotations), nil
	case "spec.nodeName":
		return p.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(n.IPs), nil
	case "status.hostIPs":
		return strings.Join(n.IPs, ","), nil
	case "status.podIP":
		return first(podIPs), nil
	case "status.podIPs":
		return strings.Join(podIPs, ","), nil
	}
	if key, ok := subscript(path, "metadata.labels"); ok {
		return p.Labels[key], nil
	}
	if key, ok := subscript(path, "metadata.annotations"); ok {
		return p.Annotations[key], nil
	}
	return "", fmt.Errorf("field %q is not one that a pod offers to its containers", path)
}

func subscript(path, of string) (string, bool) {
	rest, ok := strings.CutPrefix(path, of+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// pairs is the form of a map in a downward API file: key="value" lines, sorted.
func pairs(m map[string]string) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(k + "=" + strconv.Quote(m[k]))
	}
	return b.String()
}

// Resource returns the value of a container's request or limit, divided by the selector's divisor and rounded up. A limit
// that the container does not have is the pod's (KEP-2837), else the node's allocatable amount. The selector's own container name goes before def.
func Resource(p *v1.Pod, sel *v1.ResourceFieldSelector, def string, n Node) (string, error) {
	name := sel.ContainerName
	if name == "" {
		name = def
	}
	c := container(p, name)
	if c == nil {
		return "", fmt.Errorf("resource %q is of container %q, which the pod does not have", sel.Resource, name)
	}
	kind, res, ok := strings.Cut(sel.Resource, ".")
	if !ok || kind != "limits" && kind != "requests" {
		return "", fmt.Errorf("resource %q is neither limits.NAME nor requests.NAME", sel.Resource)
	}
	rn := v1.ResourceName(res)
	if rn != v1.ResourceCPU && rn != v1.ResourceMemory && rn != v1.ResourceEphemeralStorage && !strings.HasPrefix(res, v1.ResourceHugePagesPrefix) {
		return "", fmt.Errorf("resource %q is not one that a pod offers to its containers", sel.Resource)
	}
	list := c.Resources.Requests
	if kind == "limits" {
		list = c.Resources.Limits
	}
	q, ok := list[rn]
	if !ok && kind == "limits" {
		q = n.Allocatable[rn]
		if whole := p.Spec.Resources; whole != nil && !whole.Limits.Name(rn, resource.DecimalSI).IsZero() {
			q = whole.Limits[rn]
		}
	}
	return divide(q, sel.Divisor, rn == v1.ResourceCPU), nil
}

func divide(q, divisor resource.Quantity, cpu bool) string {
	v, d := q.Value(), divisor.Value()
	if cpu {
		v, d = q.MilliValue(), divisor.MilliValue()
		if d == 0 {
			d = 1000
		}
	}
	if d == 0 {
		d = 1
	}
	whole := v / d
	if v%d != 0 {
		whole++
	}
	return strconv.FormatInt(whole, 10)
}

func container(p *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
