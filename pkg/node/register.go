package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// annotationProvided tells a cloud's controller the address that a person gave the node.
const (
	annotationAttach   = "volumes.kubernetes.io/controller-managed-attach-detach"
	annotationProvided = "alpha.kubernetes.io/provided-node-ip"
)

// Registration is what the agent claims of its Node beyond the status.
type Registration struct {
	Name          string
	Labels        map[string]string // --node-labels
	Taints        []v1.Taint        // registerWithTaints; given to a new Node only, because removing one is others' business
	Unschedulable bool              // registerNode with --register-schedulable=false; new Nodes only
	ProviderID    string
	ExternalCloud bool         // --cloud-provider=external: a new Node starts with the uninitialized taint
	ProvidedIPs   []netip.Addr // --node-ip, which that cloud's controller is told
}

// annotations are those that the agent keeps in place; an empty one is kept away.
func (r Registration) annotations() map[string]string {
	out := map[string]string{annotationAttach: "true", annotationProvided: ""}
	if r.ExternalCloud {
		var ips []string
		for _, ip := range r.ProvidedIPs {
			if !ip.IsUnspecified() {
				ips = append(ips, ip.String())
			}
		}
		out[annotationProvided] = strings.Join(ips, ",")
	}
	return out
}

// labels are those that the agent keeps in place.
func (r Registration) labels(f Facts) map[string]string {
	l := maps.Clone(r.Labels)
	if l == nil {
		l = make(map[string]string, 5)
	}
	l[v1.LabelHostname] = f.Hostname
	l[v1.LabelOSStable], l["beta.kubernetes.io/os"] = f.Machine.OS, f.Machine.OS
	l[v1.LabelArchStable], l["beta.kubernetes.io/arch"] = f.Machine.Architecture, f.Machine.Architecture
	return l
}

// New is the Node as it is created.
func (r Registration) New(f Facts, status v1.NodeStatus) *v1.Node {
	n := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.Name, Labels: r.labels(f), Annotations: r.annotations(),
		},
		Spec:   v1.NodeSpec{ProviderID: r.ProviderID, Unschedulable: r.Unschedulable, Taints: slices.Clone(r.Taints)},
		Status: status,
	}
	maps.DeleteFunc(n.Annotations, func(_, v string) bool { return v == "" })
	if r.ExternalCloud {
		n.Spec.Taints = append(n.Spec.Taints, v1.Taint{
			Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: v1.TaintEffectNoSchedule,
		})
	}
	if r.Unschedulable {
		n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule})
	}
	return n
}

// Adopt is the patch that makes an existing Node carry the agent's labels, annotations and provider ID; nil when it does.
// Whatever else the Node has is left alone. A provider ID that is there is never changed: the API forbids it.
func (r Registration) Adopt(n *v1.Node, f Facts) ([]byte, error) {
	meta := map[string]any{}
	labels := map[string]string{}
	for k, v := range r.labels(f) {
		if got, ok := n.Labels[k]; !ok || got != v {
			labels[k] = v
		}
	}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	annotations := map[string]any{}
	for k, v := range r.annotations() {
		switch got, ok := n.Annotations[k]; {
		case v == "" && ok:
			annotations[k] = nil
		case got != v:
			annotations[k] = v
		}
	}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	patch := map[string]any{}
	if r.ProviderID != "" && n.Spec.ProviderID == "" {
		patch["spec"] = map[string]any{"providerID": r.ProviderID}
	}
	if len(meta) == 0 && len(patch) == 0 {
		return nil, nil
	}
	meta["uid"] = n.UID
	patch["metadata"] = meta
	raw, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the node's labels: %w", err)
	}
	return raw, nil
}
