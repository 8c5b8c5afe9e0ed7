package cli

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/status/show"
)

// podHeader names the columns of podRow.
func podHeader(wide bool) []string {
	h := []string{"NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "IP", "AGE", "WAITS FOR"}
	if wide {
		h = append(h, "SOURCE", "QOS", "IMAGES")
	}
	return h
}

// podRow is one line of a table of pods.
func podRow(p *v1.Pod, wide bool, now time.Time) []cell {
	ready, total, restarts := show.Counts(p)
	state := show.State(p)
	row := cells(p.Namespace, p.Name, fmt.Sprintf("%d/%d", ready, total), state, fmt.Sprint(restarts),
		orDash(p.Status.PodIP), show.Age(p, now), orDash(show.WaitsFor(p)))
	row[3].colour = stateColour(state, ready == total)
	if wide {
		var images []string
		for _, c := range p.Spec.Containers {
			images = append(images, c.Image)
		}
		row = append(row, cells(orDash(p.Annotations["kubernetes.io/config.source"]), orDash(string(p.Status.QOSClass)), strings.Join(images, ","))...)
	}
	return row
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
