package server

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/minikubelet/minikubelet/pkg/status/show"
)

// asTable reports whether a client wants lines to print, as kubectl get does.
func asTable(r *http.Request) bool {
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if strings.Contains(accepted, "as=Table") && strings.Contains(accepted, "v=v1;") && !strings.Contains(accepted, "protobuf") {
			return true
		}
	}
	return false
}

func newTable(columns ...metav1.TableColumnDefinition) *metav1.Table {
	return &metav1.Table{
		TypeMeta:          metav1.TypeMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1"},
		ColumnDefinitions: columns, Rows: []metav1.TableRow{},
	}
}

func column(name string, wide bool) metav1.TableColumnDefinition {
	c := metav1.TableColumnDefinition{Name: name, Type: "string"}
	if wide {
		c.Priority = 1
	}
	if name == "Name" {
		c.Format = "name"
	}
	return c
}

func row(t *metav1.Table, m metav1.ObjectMeta, cells ...any) {
	t.Rows = append(t.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: m,
	}}})
}

// podTable has the columns of kubectl, and what a pod waits for.
func podTable(pods []v1.Pod, now time.Time) *metav1.Table {
	t := newTable(column("Name", false), column("Ready", false), column("Status", false), column("Restarts", false),
		column("Age", false), column("Waits for", true), column("IP", true))
	for i := range pods {
		p := &pods[i]
		ready, total, restarts := show.Counts(p)
		row(t, p.ObjectMeta, p.Name, fmt.Sprintf("%d/%d", ready, total), show.State(p), restarts, show.Age(p, now),
			show.WaitsFor(p), p.Status.PodIP)
	}
	return t
}

func eventTable(events []v1.Event, now time.Time) *metav1.Table {
	t := newTable(column("Last seen", false), column("Type", false), column("Reason", false), column("Object", false),
		column("Message", false), column("Count", true))
	for i := range events {
		e := &events[i]
		object := strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name
		row(t, e.ObjectMeta, duration.HumanDuration(now.Sub(e.LastTimestamp.Time)), e.Type, e.Reason, object,
			strings.TrimSpace(e.Message), e.Count)
	}
	return t
}
