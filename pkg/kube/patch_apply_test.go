package kube_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// TestStatusPatch_LeadsToTheStatus applies patches between random statuses with the API server's own merge.
func TestStatusPatch_LeadsToTheStatus(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		if from, to := randomPodStatus(r), randomPodStatus(r); !leads(t, v1.Pod{Status: from}, v1.Pod{Status: to}, from, to) {
			t.Fatalf("pod, seed %d", seed)
		}
		if from, to := randomNodeStatus(r), randomNodeStatus(r); !leads(t, v1.Node{Status: from}, v1.Node{Status: to}, from, to) {
			t.Fatalf("node, seed %d", seed)
		}
	}
}

func leads(t *testing.T, old, want, from, to any) bool {
	t.Helper()
	patch, err := kube.StatusPatch("u", from, to)
	if err != nil {
		t.Fatal(err)
	}
	if patch == nil {
		patch = []byte("{}")
	}
	original, _ := json.Marshal(old)
	merged, err := strategicpatch.StrategicMergePatch(original, patch, old)
	if err != nil {
		t.Fatalf("%v\n%s", err, patch)
	}
	if d := cmp.Diff(status(t, must(json.Marshal(want))), status(t, merged)); d != "" {
		t.Errorf("%s\n(-want +got):\n%s", patch, d)
		return false
	}
	return true
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// status reads a status without empty values and with its conditions in order of type, which no reader relies on.
func status(t *testing.T, object []byte) map[string]any {
	t.Helper()
	var o struct{ Status map[string]any }
	if err := json.Unmarshal(object, &o); err != nil {
		t.Fatal(err)
	}
	if l, ok := o.Status["conditions"].([]any); ok {
		slices.SortFunc(l, func(a, b any) int {
			return strings.Compare(fmt.Sprint(a.(map[string]any)["type"]), fmt.Sprint(b.(map[string]any)["type"]))
		})
	}
	prune(o.Status)
	return o.Status
}

// prune takes away what reads the same when it is missing.
func prune(v any) (empty bool) {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, e := range v {
			prune(e)
		}
		return len(v) == 0
	case map[string]any:
		for k, e := range v {
			if prune(e) {
				delete(v, k)
			}
		}
		return len(v) == 0
	}
	return false
}

func some[T any](r *rand.Rand, of ...T) (out []T) {
	for _, v := range of {
		if r.IntN(2) == 0 {
			out = append(out, v)
		}
	}
	return out
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomPodStatus(r *rand.Rand) v1.PodStatus {
	s := v1.PodStatus{
		Phase: one(r, v1.PodPending, v1.PodRunning), Message: one(r, "", "a", "b"), HostIP: one(r, "", "192.0.2.1"),
		PodIPs: some(r, v1.PodIP{IP: "10.0.0.1"}, v1.PodIP{IP: "10.0.0.2"}), HostIPs: some(r, v1.HostIP{IP: "192.0.2.1"}),
		StartTime: one(r, nil, new(metav1.Unix(100, 0))),
	}
	for _, c := range some(r, v1.PodReady, v1.ContainersReady, v1.PodInitialized) {
		s.Conditions = append(s.Conditions, v1.PodCondition{
			Type: c, Status: one(r, v1.ConditionTrue, v1.ConditionFalse), Reason: one(r, "", "R"), ObservedGeneration: r.Int64N(3),
			LastProbeTime: metav1.Unix(1, 0), LastTransitionTime: metav1.Unix(r.Int64N(2)+1, 0),
		})
	}
	for _, n := range some(r, "a", "b", "c") {
		s.ContainerStatuses = append(s.ContainerStatuses, v1.ContainerStatus{
			Name: n, RestartCount: r.Int32N(2), State: one(r, v1.ContainerState{},
				v1.ContainerState{Running: &v1.ContainerStateRunning{}},
				v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}),
		})
	}
	return s
}

func randomNodeStatus(r *rand.Rand) v1.NodeStatus {
	s := v1.NodeStatus{
		Capacity: v1.ResourceList{},
		Addresses: some(r, v1.NodeAddress{Type: v1.NodeInternalIP, Address: "192.0.2.1"},
			v1.NodeAddress{Type: v1.NodeInternalIP, Address: "2001:db8::1"}, v1.NodeAddress{Type: v1.NodeHostName, Address: "n"}),
		Images:       some(r, v1.ContainerImage{Names: []string{"a"}, SizeBytes: 1}, v1.ContainerImage{Names: []string{"b"}, SizeBytes: 2}),
		VolumesInUse: some(r, v1.UniqueVolumeName("x"), v1.UniqueVolumeName("y")),
		Features:     one(r, nil, &v1.NodeFeatures{SupplementalGroupsPolicy: new(true)}),
	}
	s.NodeInfo.KernelVersion = one(r, "6.1", "6.2")
	s.DaemonEndpoints.KubeletEndpoint.Port = one(r, int32(1), 2)
	for _, n := range some(r, v1.ResourceCPU, v1.ResourceMemory, "example.com/gpu") {
		s.Capacity[n] = *resource.NewQuantity(r.Int64N(3), resource.DecimalSI)
	}
	for _, c := range some(r, v1.NodeReady, v1.NodeDiskPressure) {
		s.Conditions = append(s.Conditions, v1.NodeCondition{Type: c, Status: one(r, v1.ConditionTrue, v1.ConditionFalse), Message: one(r, "", "m"),
			LastHeartbeatTime: metav1.Unix(1+r.Int64N(2), 0), LastTransitionTime: metav1.Unix(1+r.Int64N(2), 0)})
	}
	return s
}
