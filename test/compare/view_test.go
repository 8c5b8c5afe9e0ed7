package compare

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
)

func TestSeries_AreToldByTheirPodTheirGroupOrTheirFixedLabels(t *testing.T) {
	label := func(pairs ...string) (out []*dto.LabelPair) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, &dto.LabelPair{Name: &pairs[i], Value: &pairs[i+1]})
		}
		return out
	}
	var l Lines
	for _, m := range []*dto.Metric{
		{Label: label("container", "c", "pod", "p", "id", "/a", "scope", "hierarchy")},
		{Label: label("container", "", "pod", "", "id", "/a")},
		{Label: label("operation_type", "run", "host", "h")},
		{Label: label("host", "h"), Histogram: &dto.Histogram{Bucket: []*dto.Bucket{{UpperBound: new(.5)}, {UpperBound: new(1.)}}}},
	} {
		l.addSeries("m", m)
	}
	want := Lines{
		"m buckets = 0.5 1", "m has = operation_type=run", "m labels = container id pod", "m labels = container id pod scope", "m labels = host",
		"m labels = host operation_type", "m of = group /a", "m of = p/c hierarchy",
	}
	if d := cmp.Diff(want, names{}.normal(l)); d != "" {
		t.Error(d)
	}
}

func TestReached_KnowsWhatTheViewsWaitFor(t *testing.T) {
	running, waiting := v1.ContainerState{Running: &v1.ContainerStateRunning{}}, v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ErrImagePull"}}
	status := func(c v1.ContainerStatus) v1.PodStatus {
		c.Name = "c"
		return v1.PodStatus{
			Phase: v1.PodRunning, StartTime: &[]v1.Pod{{}}[0].CreationTimestamp, ContainerStatuses: []v1.ContainerStatus{{Name: "other"}, c},
			Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}},
		}
	}
	for _, c := range []struct {
		until string
		st    v1.PodStatus
		want  bool
	}{
		{"any", v1.PodStatus{}, true},
		{"", v1.PodStatus{}, false},
		{"", status(v1.ContainerStatus{State: running}), true},
		{"again c", status(v1.ContainerStatus{State: running}), false},
		{"again c", status(v1.ContainerStatus{State: running, RestartCount: 1}), true},
		{"again none", status(v1.ContainerStatus{State: running, RestartCount: 1}), false},
		{"begun c", status(v1.ContainerStatus{State: running}), true},
		{"pulls c", status(v1.ContainerStatus{State: running}), false},
		{"pulls c", status(v1.ContainerStatus{State: waiting}), true},
	} {
		if got := reached(c.until, c.st); got != c.want {
			t.Errorf("%q of %v: %t", c.until, c.st, got)
		}
	}
}

func TestShape_IsABodyOrTheFormOfALongOne(t *testing.T) {
	long := make([]byte, mostBody+1)
	for want, a := range map[string]answer{
		"none": {}, "ok": {code: 200, body: []byte("ok")}, "not found": {code: 404, body: []byte("not found\n")}, "much": {code: 200, body: long},
		"an object of items, kind": {code: 200, body: []byte(`{"kind":"x","items":["` + strings.Repeat("y", mostBody) + `"]}`)},
	} {
		if got := a.shape(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
