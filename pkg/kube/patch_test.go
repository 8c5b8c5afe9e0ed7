package kube_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

func TestStatusPatch_HoldsOnlyWhatChanged(t *testing.T) {
	ready := v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionTrue}
	unready := v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionFalse, Reason: "ContainersNotReady"}
	scheduled := v1.PodCondition{Type: v1.PodScheduled, Status: v1.ConditionTrue}
	for name, c := range map[string]struct {
		from, to v1.PodStatus
		want     string
	}{
		"nothing": {
			from: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{ready}},
			to:   v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{ready}},
		},
		"a field": {
			from: v1.PodStatus{Phase: v1.PodPending, HostIP: "10.0.0.1"},
			to:   v1.PodStatus{Phase: v1.PodRunning, HostIP: "10.0.0.1"},
			want: `{"metadata":{"uid":"u"},"status":{"phase":"Running"}}`,
		},
		"a field that went": {
			from: v1.PodStatus{Phase: v1.PodPending, Message: "waits"},
			to:   v1.PodStatus{Phase: v1.PodPending},
			want: `{"metadata":{"uid":"u"},"status":{"message":null}}`,
		},
		"one condition of two, with the reason that went": {
			from: v1.PodStatus{Conditions: []v1.PodCondition{scheduled, unready}},
			to:   v1.PodStatus{Conditions: []v1.PodCondition{scheduled, ready}},
			want: `{"metadata":{"uid":"u"},"status":{"conditions":[{"reason":null,"status":"True","type":"Ready"}]}}`,
		},
		"a condition that went": {
			from: v1.PodStatus{Conditions: []v1.PodCondition{scheduled, unready}},
			to:   v1.PodStatus{Conditions: []v1.PodCondition{scheduled}},
			want: `{"metadata":{"uid":"u"},"status":{"conditions":[{"$patch":"delete","type":"Ready"}]}}`,
		},
		"all conditions went": {
			from: v1.PodStatus{Conditions: []v1.PodCondition{ready}},
			want: `{"metadata":{"uid":"u"},"status":{"conditions":[{"$patch":"delete","type":"Ready"}]}}`,
		},
		"IPs are replaced": {
			from: v1.PodStatus{PodIPs: []v1.PodIP{{IP: "10.0.0.2"}}},
			to:   v1.PodStatus{PodIPs: []v1.PodIP{{IP: "10.0.0.3"}}},
			want: `{"metadata":{"uid":"u"},"status":{"podIPs":[{"$patch":"replace"},{"ip":"10.0.0.3"}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := kube.StatusPatch("u", c.from, c.to)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, string(got)); d != "" {
				t.Errorf("patch (-want +got):\n%s", d)
			}
		})
	}
}
