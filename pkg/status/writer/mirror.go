package writer

import (
	"context"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// sendStatic makes the mirror of a static pod, or takes it away, and writes the status to it.
func (w *Writer) sendStatic(ctx context.Context, e *entry) error {
	name, node := pod.FullName(e.pod), w.cfg.Node()
	w.mu.Lock()
	m := w.mirrors[name]
	w.mu.Unlock()
	if m != nil && (e.finished || !mirrors(m, e.pod, node)) {
		if err := w.remove(ctx, m.Namespace, m.Name, m.UID); err != nil {
			return err
		}
		w.mirror(name, m, nil)
		m = nil
	}
	if e.finished {
		return nil
	}
	if m == nil {
		made := &v1.Pod{}
		err := w.cfg.API.Create(ctx, kube.Key{Resource: kube.Pods, Namespace: e.pod.Namespace}, Mirror(e.pod, node), made)
		if err != nil {
			return err
		}
		w.mirror(name, nil, made)
		m = made
		e.baseVersion = ""
	}
	if e.baseVersion == "" || older(e.baseVersion, m.ResourceVersion) {
		e.base, e.baseVersion = m.Status, m.ResourceVersion
	}
	e.gone = false
	err := w.patch(ctx, e, m)
	if e.gone { // deleted meanwhile: the watch tells it, and it is made again
		e.gone, e.baseVersion = false, ""
	}
	return err
}

// mirror keeps what was written to the API server, unless the watch was faster.
func (w *Writer) mirror(name string, was, is *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uid(w.mirrors[name]) != uid(was) {
		return
	}
	if is == nil {
		delete(w.mirrors, name)
		return
	}
	w.mirrors[name] = is
}

// adoptOrphans makes entries for the mirror pods of static pods that do not exist, so that they are deleted.
func (w *Writer) adoptOrphans() {
	if w.statics == nil {
		return
	}
	for name, m := range w.mirrors {
		if w.statics[name] || w.pods[m.UID] != nil || w.holds(name) {
			continue
		}
		orphan := m.DeepCopy()
		orphan.Annotations[pod.AnnotationSource] = string(pod.SourceFile)
		w.pods[m.UID] = &entry{pod: orphan, finished: true}
	}
}

// holds reports whether a static pod of that name is still reported: it is the one to take the mirror away.
func (w *Writer) holds(name string) bool {
	for _, e := range w.pods {
		if pod.FullName(e.pod) == name {
			return true
		}
	}
	return false
}

// mirrors reports whether m is the mirror of p on the node as it is now.
func mirrors(m, p *v1.Pod, node *v1.Node) bool {
	return m.DeletionTimestamp == nil &&
		m.Annotations[pod.AnnotationMirror] == hash(p) &&
		slices.ContainsFunc(m.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == node.UID })
}

func hash(p *v1.Pod) string {
	if h := p.Annotations[pod.AnnotationHash]; h != "" {
		return h
	}
	return string(p.UID)
}

// Mirror is the object that shows a static pod at the API server. NodeRestriction demands the owner reference and the
// annotation; the priority is the admission plugin's to compute from the class.
func Mirror(p *v1.Pod, node *v1.Node) *v1.Pod {
	spec := p.Spec.DeepCopy()
	spec.NodeName = node.Name
	spec.Priority, spec.PreemptionPolicy = nil, nil
	m := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace, Labels: p.Labels, Annotations: make(map[string]string, len(p.Annotations)+1),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: new(true),
			}},
		},
		Spec: *spec,
	}
	for k, v := range p.Annotations {
		m.Annotations[k] = v
	}
	m.Annotations[pod.AnnotationMirror] = hash(p)
	if hidden := hideReferences(m); len(hidden) > 0 {
		m.Annotations[AnnotationHidden] = strings.Join(hidden, ", ")
	}
	return m
}
