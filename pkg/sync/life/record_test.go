package life

import (
	"context"
	"errors"
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func TestRemember_NotesHowHooksEnded(t *testing.T) {
	before := pod.Record{Hooks: map[string]pod.Hooks{"id": {PostStart: pod.HookDone, PreStop: pod.HookBegun}}}
	for _, tt := range []struct {
		kind     plan.Kind
		err      error
		canceled bool
		want     pod.Hooks
	}{
		{plan.PreStop, nil, false, pod.Hooks{PostStart: pod.HookDone, PreStop: pod.HookDone}},
		{plan.PreStop, errors.New("no"), false, pod.Hooks{PostStart: pod.HookDone, PreStop: pod.HookFailed}},
		{plan.PreStop, context.Canceled, true, pod.Hooks{PostStart: pod.HookDone, PreStop: pod.HookBegun}},
		{plan.PostStart, errors.New("no"), false, pod.Hooks{PostStart: pod.HookFailed, PreStop: pod.HookBegun}},
	} {
		after := remember(before, Result{Action: plan.Action{Kind: tt.kind, ID: "id"}, Err: tt.err, Canceled: tt.canceled})
		if after.Hooks["id"] != tt.want {
			t.Errorf("%s that ended with %v is remembered as %+v, want %+v", tt.kind, tt.err, after.Hooks["id"], tt.want)
		}
		if before.Hooks["id"] != (pod.Hooks{PostStart: pod.HookDone, PreStop: pod.HookBegun}) {
			t.Fatal("the record before was changed")
		}
	}
}

// A fact that the record holds and sameRecord does not compare would be lost with the agent.
func TestSameRecord_ComparesEveryField(t *testing.T) {
	typ := reflect.TypeFor[pod.Record]()
	for i := range typ.NumField() {
		var changed pod.Record
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
			f.SetMapIndex(reflect.Zero(f.Type().Key()), reflect.Zero(f.Type().Elem()))
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.String:
			f.SetString("x")
		case reflect.Struct:
			changed.Status.Phase = "x"
		default:
			t.Fatalf("teach this test to change %s", typ.Field(i).Name)
		}
		if sameRecord(pod.Record{}, changed) {
			t.Errorf("a change of %s would not be saved", typ.Field(i).Name)
		}
	}
}

func TestSameRecord_LetsAPodComeUpWithoutWritingDownEachStep(t *testing.T) {
	waiting := v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	status := func(ip string, state v1.ContainerState, restarts int32) pod.Record {
		return pod.Record{Status: v1.PodStatus{
			Phase: v1.PodPending, PodIP: ip, ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: state, RestartCount: restarts}},
		}}
	}
	first := status("", waiting, 0)
	for _, tt := range []struct {
		what  string
		after pod.Record
		same  bool
	}{
		{"it has an address", status("10.0.0.1", waiting, 0), true},
		{"it has no status yet", pod.Record{}, false},
		{"a container runs", status("10.0.0.1", v1.ContainerState{Running: &v1.ContainerStateRunning{}}, 0), false},
		{"a container has ended", status("10.0.0.1", v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}, 0), false},
		{"a container has been restarted", status("10.0.0.1", waiting, 1), false},
	} {
		if got := sameRecord(first, tt.after); got != tt.same {
			t.Errorf("%s: same %t, want %t", tt.what, got, tt.same)
		}
	}
}
