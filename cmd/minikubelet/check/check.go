package check

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/server"
)

// Node is what is asked of the node.
type Node struct {
	Pods     func() []*v1.Pod
	Admit    func(running []*v1.Pod, p *v1.Pod) *pod.Verdict
	HasImage func(ctx context.Context, name string) (bool, error)
	Objects  *objects.Store
}

// Lacks tells what the proposed pods lack here. A pod takes the place of one of its name that runs already; the pods of a
// proposal must fit beside each other.
func (n Node) Lacks(ctx context.Context, all server.Proposal) []server.Lack {
	var running []*v1.Pod
	for _, p := range n.Pods() {
		if !pod.IsOver(p) && !slices.ContainsFunc(all.Pods, func(q v1.Pod) bool { return q.Namespace == p.Namespace && q.Name == p.Name }) {
			running = append(running, p)
		}
	}
	beside, lacks := all.Objects(), []server.Lack{}
	for i := range all.Pods {
		p := &all.Pods[i]
		w := &walk{node: n, pod: p, from: objects.Over(beside, n.Objects.For(p)), index: i}
		if v := n.Admit(running, p); v != nil {
			w.lack("", "%s: %s", v.Reason, v.Message)
		} else {
			running = append(running, p)
		}
		w.containers(ctx)
		w.volumes(ctx)
		lacks = append(lacks, w.lacks...)
	}
	return lacks
}

// walk goes through one pod.
type walk struct {
	node  Node
	pod   *v1.Pod
	from  objects.Getter // the proposal, then the node
	index int
	lacks []server.Lack
}

func (w *walk) lack(field, format string, args ...any) {
	w.lacks = append(w.lacks, server.Lack{Pod: w.index, Field: field, Text: fmt.Sprintf(format, args...)})
}

func (w *walk) containers(ctx context.Context) {
	for _, g := range []struct {
		field string
		list  []v1.Container
	}{{"spec.initContainers", w.pod.Spec.InitContainers}, {"spec.containers", w.pod.Spec.Containers}} {
		for i := range g.list {
			c, at := &g.list[i], fmt.Sprintf("%s[%d]", g.field, i)
			w.image(ctx, at+".image", c)
			for j, e := range c.EnvFrom {
				w.envFrom(ctx, fmt.Sprintf("%s.envFrom[%d]", at, j), &e)
			}
			for j, e := range c.Env {
				w.env(ctx, fmt.Sprintf("%s.env[%d].valueFrom", at, j), e.ValueFrom)
			}
		}
	}
}

// image: an image that is not here is pulled, unless it may not be.
func (w *walk) image(ctx context.Context, field string, c *v1.Container) {
	if c.ImagePullPolicy != v1.PullNever {
		return
	}
	has, err := w.node.HasImage(ctx, c.Image)
	switch {
	case err != nil:
		w.lack(field, "cannot tell whether the image is here: %v", err)
	case !has:
		w.lack(field, "image %q is not on this node and imagePullPolicy is Never: import it, as with an archive in images/ of the root directory", c.Image)
	}
}

func (w *walk) envFrom(ctx context.Context, at string, e *v1.EnvFromSource) {
	if r := e.ConfigMapRef; r != nil {
		w.configMap(ctx, at+".configMapRef.name", r.Name, optional(r.Optional))
	}
	if r := e.SecretRef; r != nil {
		w.secret(ctx, at+".secretRef.name", r.Name, optional(r.Optional))
	}
}

func (w *walk) env(ctx context.Context, at string, f *v1.EnvVarSource) {
	if f == nil {
		return
	}
	if r := f.ConfigMapKeyRef; r != nil {
		w.configMap(ctx, at+".configMapKeyRef", r.Name, optional(r.Optional), r.Key)
	}
	if r := f.SecretKeyRef; r != nil {
		w.secret(ctx, at+".secretKeyRef", r.Name, optional(r.Optional), r.Key)
	}
}

func optional(o *bool) bool { return o != nil && *o }

// configMap looks for a config map and for keys of it.
func (w *walk) configMap(ctx context.Context, field, name string, optional bool, keys ...string) {
	if optional {
		return
	}
	c, err := objects.Get[v1.ConfigMap](ctx, w.from, w.pod.Namespace, name)
	if err != nil {
		w.missing(field, "ConfigMap", name, err)
		return
	}
	for _, k := range keys {
		_, text := c.Data[k]
		_, binary := c.BinaryData[k]
		if !text && !binary {
			w.lack(field, "ConfigMap %s/%s has no key %q: add it, or say that it is optional", w.pod.Namespace, name, k)
		}
	}
}

// secret looks for a secret and for keys of it.
func (w *walk) secret(ctx context.Context, field, name string, optional bool, keys ...string) {
	if optional {
		return
	}
	s, err := objects.Get[v1.Secret](ctx, w.from, w.pod.Namespace, name)
	if err != nil {
		w.missing(field, "Secret", name, err)
		return
	}
	for _, k := range keys {
		_, data := s.Data[k]
		_, text := s.StringData[k]
		if !data && !text {
			w.lack(field, "Secret %s/%s has no key %q: add it, or say that it is optional", w.pod.Namespace, name, k)
		}
	}
}

func (w *walk) missing(field, kind, name string, err error) {
	if apierrors.IsNotFound(err) {
		w.lack(field, "there is no %s %s/%s: put it into a file beside the pod, or make it at the API server", kind, w.pod.Namespace, name)
		return
	}
	w.lack(field, "cannot find %s %s/%s: %v", kind, w.pod.Namespace, name, err)
}
