package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (j *joined) node() *v1.Node {
	j.t.Helper()
	n, err := j.admin.CoreV1().Nodes().Get(j.t.Context(), j.agent.NodeName, metav1.GetOptions{})
	if err != nil {
		j.t.Fatal(err)
	}
	return n
}

func (j *joined) nodeTellsWhatItIs() {
	n, t := j.node(), j.t
	for _, r := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourcePods, v1.ResourceEphemeralStorage} {
		have, may := n.Status.Capacity[r], n.Status.Allocatable[r]
		if have.IsZero() || may.IsZero() || may.Cmp(have) > 0 {
			t.Errorf("%s: capacity %s, allocatable %s", r, &have, &may)
		}
	}
	var types []v1.NodeConditionType
	for _, c := range n.Status.Conditions {
		types = append(types, c.Type)
		if want := map[bool]v1.ConditionStatus{true: v1.ConditionTrue, false: v1.ConditionFalse}[c.Type == v1.NodeReady]; c.Status != want {
			t.Errorf("condition %s is %s: %s", c.Type, c.Status, c.Message)
		}
	}
	if want := []v1.NodeConditionType{v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure, v1.NodeReady}; !slices.Equal(types, want) {
		t.Errorf("conditions %v, want %v", types, want)
	}
	if c := n.Status.Conditions[len(n.Status.Conditions)-1]; c.Reason != "KubeletReady" || c.Message != "kubelet is posting ready status" {
		t.Errorf("Ready: %s: %s", c.Reason, c.Message)
	}
	if want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: j.env.NodeIP()}, {Type: v1.NodeHostName, Address: j.agent.NodeName}}; !slices.Equal(n.Status.Addresses, want) {
		t.Errorf("addresses %v, want %v", n.Status.Addresses, want)
	}
	if got := n.Status.DaemonEndpoints.KubeletEndpoint.Port; got != int32(j.agent.Port) {
		t.Errorf("port %d, want %d", got, j.agent.Port)
	}
	i := n.Status.NodeInfo
	if !strings.HasPrefix(i.KubeletVersion, "v1.36.") || i.ContainerRuntimeVersion != "containerd://2.4.2" ||
		i.OperatingSystem != "linux" || i.BootID == "" || i.KernelVersion == "" || i.OSImage == "" {
		t.Errorf("node info %+v", i)
	}
	for label, want := range map[string]string{v1.LabelHostname: j.agent.NodeName, v1.LabelOSStable: "linux", v1.LabelArchStable: i.Architecture} {
		if n.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, n.Labels[label], want)
		}
	}
	if n.Annotations["volumes.kubernetes.io/controller-managed-attach-detach"] != "true" {
		t.Errorf("annotations %v", n.Annotations)
	}
	if len(n.Status.RuntimeHandlers) == 0 {
		t.Error("no runtime handlers")
	}
	j.waitEvents(j.agent.NodeName, "Starting: ")
}

func (j *joined) leaseIsRenewed() {
	lease := func() (string, error) {
		return j.Kubectl("get", "lease", "-n", "kube-node-lease", j.agent.NodeName, "-o", "jsonpath={.spec.holderIdentity} {.spec.leaseDurationSeconds} {.metadata.ownerReferences[0].kind} {.spec.renewTime}")
	}
	var first string
	j.eventually("the lease is the node's", func() (err error) {
		if first, err = lease(); err == nil && !strings.HasPrefix(first, j.agent.NodeName+" 40 Node ") {
			err = errors.New(first)
		}
		return err
	})
	j.eventually("the lease is renewed", func() error {
		if now, err := lease(); err != nil || now == first {
			return fmt.Errorf("still %s, %w", now, err)
		}
		return nil
	})
}
