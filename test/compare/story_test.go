package compare

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestHolds_IsWhatAStepNames(t *testing.T) {
	p := v1.Pod{Status: waiting("X")}
	p.UID, p.Labels = "2", map[string]string{"v": "2"}
	p.Status.ContainerStatuses[0].RestartCount = 1
	s := &scene{
		pod: p, before: "1", events: []v1.Event{{Reason: "Killing"}},
		file: func(_, path string) string { return "says " + path }, log: func(string) string { return "over\n" },
	}
	for condition, want := range map[string]bool{
		"still": true, "gone": false, "new": true, "restarts c 1": true, "restarts c 2": false, "restarts d 0": false,
		"pod metadata.labels.v = 2": true, "pod metadata.labels.v = ": false, "pod status.containerStatuses.c..restartCount = 1": true,
		"file c /m/a says /m": true, "file c /m/a no": false, "log c over": true, "log c no": false,
		"running": true, "waiting X": true, "event Killing": true, "event BackOff": false, "ready": false,
	} {
		if got, err := holds(condition, s); got != want || err != nil {
			t.Errorf("%q holds: %v, %v", condition, got, err)
		}
	}
	s.gone = true
	for condition, want := range map[string]bool{"gone": true, "new": false, "running": false, "pod metadata.labels.v = 2": false} {
		if got, _ := holds(condition, s); got != want {
			t.Errorf("%q holds of a pod that is gone: %v", condition, got)
		}
	}
	for _, bad := range []string{"", "soon", "file c /m", "restarts c many", "pod ("} {
		if _, err := holds(bad, s); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReadSteps_RefusesWhatNobodyDoes(t *testing.T) {
	for want, step := range map[string]map[string]any{
		"unknown field": {"di": "kill c"}, "want one of": {"do": "burn c"}, "with its words": {"do": "kill"}, "until": {"until": []any{"soon"}},
		"look": {"look": []any{"sky"}}, "apart": {"do": "stop-agent"}, "write and replace": {"do": "kill c", "pod": map[string]any{}},
	} {
		_, err := readSteps(map[string]any{"steps": []any{step}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want it to say %q", step, err, want)
		}
	}
}

func TestReadSteps_WritesTheCasesPodWithWhatChanges(t *testing.T) {
	steps, err := readSteps(map[string]any{
		"meta":  map[string]any{"namespace": "case-a", "labels": map[string]any{"v": "1"}},
		"steps": []any{map[string]any{"do": "write %.yaml", "pod": map[string]any{"meta": map[string]any{"labels": map[string]any{"v": "2"}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(steps[0].manifest); !strings.Contains(got, `"namespace":"case-a"`) || !strings.Contains(got, `"v":"2"`) {
		t.Errorf("the manifest is %s", got)
	}
}
