package feed

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestHold_StartsWithoutTheServerOnlyWhatMay(t *testing.T) {
	remembered := func(source pod.Source, change func(*pod.Record)) pod.Record {
		r := pod.Record{Pod: &v1.Pod{}, Source: source}
		if change != nil {
			change(&r)
		}
		return r
	}
	tolerates := func(seconds *int64) func(*pod.Record) {
		return func(r *pod.Record) {
			r.Pod.Spec.Tolerations = []v1.Toleration{{Key: "k", Operator: v1.TolerationOpExists, TolerationSeconds: seconds}}
		}
	}
	tainted := []v1.Taint{{Key: "s", Effect: v1.TaintEffectNoSchedule}, {Key: "k", Effect: v1.TaintEffectNoExecute}}
	tests := map[string]struct {
		mode    string
		record  pod.Record
		running bool
		taints  []v1.Taint
		held    bool
	}{
		"a pod of the server":                      {record: remembered(pod.SourceAPI, nil)},
		"one that was being deleted":               {record: remembered(pod.SourceAPI, func(r *pod.Record) { r.Pod.DeletionTimestamp = &metav1.Time{} }), held: true},
		"one that has to be torn down":             {record: remembered(pod.SourceAPI, func(r *pod.Record) { r.Stop = &pod.Stop{} }), taints: tainted},
		"one that has ended":                       {record: remembered(pod.SourceAPI, func(r *pod.Record) { r.Verdict = &pod.Verdict{} }), mode: config.AutonomyNever},
		"on a node with NoExecute":                 {record: remembered(pod.SourceAPI, nil), taints: tainted, held: true},
		"on a node with NoSchedule":                {record: remembered(pod.SourceAPI, nil), taints: tainted[:1]},
		"tolerating NoExecute":                     {record: remembered(pod.SourceAPI, tolerates(nil)), taints: tainted},
		"tolerating NoExecute for a while":         {record: remembered(pod.SourceAPI, tolerates(new(int64(300)))), taints: tainted, held: true},
		"running on a node with NoExecute":         {record: remembered(pod.SourceAPI, nil), running: true, taints: tainted},
		"static on a node with NoExecute":          {record: remembered(pod.SourceFile, nil), taints: tainted},
		"static-only: a pod of the server":         {mode: config.AutonomyStaticOnly, record: remembered(pod.SourceAPI, nil), held: true},
		"static-only: a running pod of the server": {mode: config.AutonomyStaticOnly, record: remembered(pod.SourceAPI, nil), running: true},
		"static-only: a static pod":                {mode: config.AutonomyStaticOnly, record: remembered(pod.SourceFile, nil)},
		"never: a static pod":                      {mode: config.AutonomyNever, record: remembered(pod.SourceFile, nil), held: true},
		"never: a running static pod":              {mode: config.AutonomyNever, record: remembered(pod.SourceFile, nil), running: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.mode == "" {
				tt.mode = config.AutonomyAlways
			}
			if why := hold(tt.mode, tt.record, tt.running, tt.taints); (why != "") != tt.held {
				t.Errorf("hold() = %q, want held: %v", why, tt.held)
			}
		})
	}
}
