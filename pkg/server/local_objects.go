package server

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
)

// selection is which objects a request is about.
type selection struct {
	namespace string // "": all
	labels    labels.Selector
	fields    fields.Selector
}

// selected reads labelSelector and fieldSelector. A field that objects of the kind are not found by is refused.
func selected(r *http.Request, known ...string) (selection, error) {
	q := r.URL.Query()
	s := selection{namespace: r.PathValue("namespace")}
	var err error
	if s.labels, err = labels.Parse(q.Get("labelSelector")); err != nil {
		return s, badRequest("labelSelector: %v", err)
	}
	if s.fields, err = fields.ParseSelector(q.Get("fieldSelector")); err != nil {
		return s, badRequest("fieldSelector: %v", err)
	}
	for _, want := range s.fields.Requirements() {
		if !slices.Contains(known, want.Field) {
			return s, badRequest("fieldSelector: %s is not known here, only %s", want.Field, strings.Join(known, ", "))
		}
	}
	return s, nil
}

func (s selection) takes(m *metav1.ObjectMeta, f fields.Set) bool {
	if s.namespace != "" && s.namespace != m.Namespace {
		return false
	}
	f["metadata.name"], f["metadata.namespace"] = m.Name, m.Namespace
	return s.labels.Matches(labels.Set(m.Labels)) && s.fields.Matches(f)
}

func (s selection) pod(p *v1.Pod) bool {
	return s.takes(&p.ObjectMeta, fields.Set{
		"spec.nodeName": p.Spec.NodeName, "spec.restartPolicy": string(p.Spec.RestartPolicy),
		"spec.serviceAccountName": p.Spec.ServiceAccountName, "status.phase": string(p.Status.Phase),
		"status.podIP": p.Status.PodIP,
	})
}

func (s selection) event(e *v1.Event) bool {
	about := e.InvolvedObject
	return s.takes(&e.ObjectMeta, fields.Set{
		"involvedObject.kind": about.Kind, "involvedObject.namespace": about.Namespace, "involvedObject.name": about.Name,
		"involvedObject.uid": string(about.UID), "involvedObject.fieldPath": about.FieldPath, "type": e.Type, "reason": e.Reason,
		"reportingComponent": e.ReportingController, "source": e.Source.Component,
	})
}

// pods lists the pods of the node, or streams their changes with ?watch=true: what is there first, then each change.
func (s Source) pods(w http.ResponseWriter, r *http.Request) error {
	if watching(r) {
		want, err := selectedPods(r)
		if err != nil {
			return err
		}
		watch(w, r, s.Changed, func() map[string]*v1.Pod {
			now := map[string]*v1.Pod{}
			for _, p := range s.Pods() {
				if want.pod(p) {
					now[string(p.UID)] = p
				}
			}
			return now
		}, func(p *v1.Pod) any {
			if asTable(r) {
				return podTable([]v1.Pod{*p}, time.Now())
			}
			return typedPod(p)
		})
		return nil
	}
	return s.listPods(w, r)
}

func selectedPods(r *http.Request) (selection, error) {
	return selected(r, "metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy",
		"spec.serviceAccountName", "status.phase", "status.podIP")
}

func (s Source) listPods(w http.ResponseWriter, r *http.Request) error {
	want, err := selectedPods(r)
	if err != nil {
		return err
	}
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []v1.Pod{}}
	for _, p := range s.Pods() {
		if want.pod(p) {
			item := *p
			item.TypeMeta = metav1.TypeMeta{} // the list says it
			list.Items = append(list.Items, item)
		}
	}
	slices.SortFunc(list.Items, func(a, b v1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	if asTable(r) {
		return reply(w, podTable(list.Items, time.Now()))
	}
	return reply(w, list)
}

func (s Source) onePod(w http.ResponseWriter, r *http.Request) error {
	p, err := s.subject(r)
	if err != nil {
		return err
	}
	if asTable(r) {
		return reply(w, podTable([]v1.Pod{*p}, time.Now()))
	}
	return reply(w, typedPod(p))
}

func typedPod(p *v1.Pod) v1.Pod {
	named := *p
	named.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
	return named
}

func (s Source) nodes(w http.ResponseWriter, r *http.Request) error {
	want, err := selected(r, "metadata.name")
	if err != nil {
		return err
	}
	n := s.Node()
	if watching(r) {
		var last *v1.Node
		watch(w, r, s.Changed, func() map[string]*v1.Node {
			n := s.Node()
			if !want.takes(&n.ObjectMeta, fields.Set{}) {
				return nil
			}
			if last == nil || !reflect.DeepEqual(last, n) { // each look may give another copy of what did not change
				last = n
			}
			return map[string]*v1.Node{n.Name: last}
		}, func(n *v1.Node) any { return typedNode(n) })
		return nil
	}
	list := v1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, Items: []v1.Node{}}
	if want.takes(&n.ObjectMeta, fields.Set{}) {
		list.Items = append(list.Items, *n)
	}
	return reply(w, list)
}

func (s Source) oneNode(w http.ResponseWriter, r *http.Request) error {
	n := s.Node()
	if n.Name != r.PathValue("name") {
		return notFound("nodes %q not found: this node is %s", r.PathValue("name"), n.Name)
	}
	return reply(w, typedNode(n))
}

func typedNode(n *v1.Node) v1.Node {
	named := *n
	named.TypeMeta = metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}
	return named
}

func (s Source) events(w http.ResponseWriter, r *http.Request) error {
	want, err := selected(r, "metadata.name", "metadata.namespace", "involvedObject.kind", "involvedObject.namespace",
		"involvedObject.name", "involvedObject.uid", "involvedObject.fieldPath", "type", "reason", "reportingComponent", "source")
	if err != nil {
		return err
	}
	if watching(r) {
		s.watchEvents(w, r, want)
		return nil
	}
	list := v1.EventList{TypeMeta: metav1.TypeMeta{Kind: "EventList", APIVersion: "v1"}, Items: []v1.Event{}}
	for _, e := range s.Events() {
		if want.event(&e) {
			list.Items = append(list.Items, e)
		}
	}
	if asTable(r) {
		return reply(w, eventTable(list.Items, time.Now()))
	}
	return reply(w, list)
}

// VersionInfo is a version in the form of an API server's.
func VersionInfo(v string) version.Info {
	i := version.Info{GitVersion: v, GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3); len(parts) == 3 {
		i.Major, i.Minor = parts[0], parts[1]
	}
	return i
}

func (s Source) version(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, VersionInfo(s.Version))
}

// configz tells what the agent was told, with its defaults.
func (s Source) configz(w http.ResponseWriter, _ *http.Request) error {
	if s.Config == nil {
		return notFound("the agent does not tell its configuration")
	}
	return reply(w, s.Config())
}

// Discovery, so that kubectl finds what is served here.

func (s Source) apiVersions(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
}

func (s Source) apiGroups(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}})
}

func (s Source) apiResources(w http.ResponseWriter, _ *http.Request) error {
	read := metav1.Verbs{"get", "list", "watch"}
	return reply(w, metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: "v1",
		APIResources: []metav1.APIResource{
			{Name: "events", SingularName: "event", Namespaced: true, Kind: "Event", ShortNames: []string{"ev"}, Verbs: metav1.Verbs{"list", "watch"}},
			{Name: "nodes", SingularName: "node", Kind: "Node", ShortNames: []string{"no"}, Verbs: read},
			{Name: "pods", SingularName: "pod", Namespaced: true, Kind: "Pod", ShortNames: []string{"po"}, Verbs: read, Categories: []string{"all"}},
			{Name: "pods/attach", Namespaced: true, Kind: "PodAttachOptions", Verbs: metav1.Verbs{"create", "get"}},
			{Name: "pods/exec", Namespaced: true, Kind: "PodExecOptions", Verbs: metav1.Verbs{"create", "get"}},
			{Name: "pods/log", Namespaced: true, Kind: "Pod", Verbs: metav1.Verbs{"get"}},
			{Name: "pods/portforward", Namespaced: true, Kind: "PodPortForwardOptions", Verbs: metav1.Verbs{"create", "get"}},
		},
	})
}

const maxCheck = 16 << 20

// check answers what this node lacks for pods that somebody thinks of running on it.
func (s Source) check(w http.ResponseWriter, r *http.Request) error {
	if s.Check == nil {
		return notFound("the agent checks no pods")
	}
	var asked Proposal
	if err := json.NewDecoder(io.LimitReader(r.Body, maxCheck)).Decode(&asked); err != nil {
		return badRequest("cannot read what to check: %v", err)
	}
	return reply(w, s.Check(r.Context(), asked))
}
