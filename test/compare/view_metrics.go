package compare

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics are the names, types, labels and buckets of what a path tells monitoring, and of which pods it tells them; not the values.
func metrics(path string) func(v *viewer) (Lines, error) {
	return func(v *viewer) (l Lines, err error) {
		a, err := v.root().ask(v, http.MethodGet, path, "")
		if err != nil {
			return nil, err
		}
		l.add("code", fmt.Sprint(a.code, " ", a.header.Get("Content-Type")))
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(bytes.NewReader(a.body))
		if err != nil {
			return l, err
		}
		for name, f := range families {
			l.add(name, strings.ToLower(f.GetType().String()))
			for _, m := range f.GetMetric() {
				l.addSeries(name, m)
			}
		}
		return l, nil
	}
}

// fixed are labels whose values are of a set that programs know.
var fixed = map[string]bool{
	"operation_type": true, "container_type": true, "container_state": true, "static": true, "volume_plugin": true, "plugin_name": true, "operation_name": true,
	"status": true, "state": true, "probe_type": true, "result": true, "eviction_signal": true, "runtime_handler": true, "scope": true, "failure_type": true,
	"method": true, "path": true, "server_type": true, "reason": true, "type": true, "name": true, "resource": true, "migrated": true,
	"verb": true, "phase": true, "signal": true, "kind": true, "event_type": true, "code": true, "stage": true,
}

// addSeries adds what a series is told by: its labels, the values of those that are fixed, and the pod and container that it is of.
func (l *Lines) addSeries(name string, m *dto.Metric) {
	labels := map[string]string{}
	for _, p := range m.GetLabel() {
		labels[p.GetName()] = p.GetValue()
	}
	l.add(name+" labels", strings.Join(slices.Sorted(maps.Keys(labels)), " "))
	if h := m.GetHistogram(); h != nil {
		var bounds []string
		for _, b := range h.GetBucket() {
			bounds = append(bounds, fmt.Sprint(b.GetUpperBound()))
		}
		l.add(name+" buckets", strings.Join(bounds, " "))
	}
	if of, ok := seriesOf(labels); ok {
		l.add(name+" of", of)
		return
	}
	var values []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if fixed[label] {
			values = append(values, label+"="+labels[label])
		}
	}
	if len(values) > 0 && !strings.HasPrefix(name, "rest_client_") { // what was asked of the API server is chance
		l.add(name+" has", strings.Join(values, " "))
	}
}

// seriesOf is the pod, container or control group that a series is of.
func seriesOf(labels map[string]string) (string, bool) {
	pod, ofPod := labels["pod"]
	id, ofGroup := labels["id"]
	switch {
	case ofPod && pod != "":
		of := pod
		if c, ok := labels["container"]; ok {
			of += "/" + c
		}
		for _, more := range []string{"probe_type", "result", "interface", "device", "scope", "failure_type"} {
			if labels[more] != "" {
				of += " " + labels[more]
			}
		}
		return of, true
	case ofGroup:
		return "group " + id, true
	}
	return "", false
}
