package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/minikubelet/minikubelet/pkg/config/yamldoc"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/rules"
)

// MaxSize is the size in bytes that a file or an answer of a URL may have.
const MaxSize = 10 << 20

// Object is one object of a manifest, valid and with its defaults; a pod also has its identity on this node.
type Object struct {
	objects.Object
	Document int // from 1
	Line     int // of its name, from 1
}

// Key returns the kind, namespace and name.
func (o Object) Key() objects.Key { return objects.KeyOf(o.Object) }

// Origin says where a manifest was read, and for which node.
type Origin struct {
	Source pod.Source
	Name   string // file path or URL, for problems
	Node   string // name of this node
}

// Decode reads what a file or an answer of a URL holds: YAML or JSON, one or more documents, each a Pod, ConfigMap, Secret, PersistentVolume,
// PersistentVolumeClaim, RuntimeClass or a List of those. Documents are read strictly, defaulted and validated as an API server would.
// A document with a problem gives no object; the others do.
func Decode(data []byte, from Origin) ([]Object, []Problem) {
	if len(data) > MaxSize {
		return nil, []Problem{{Source: from.Source, Name: from.Name,
			Text: fmt.Sprintf("larger than %d MiB: split it into several files", MaxSize>>20)}}
	}
	d := decoder{from: from}
	docs, broken := yamldoc.Parse(data)
	for i, p := range broken {
		d.problem(i, p)
	}
	for _, doc := range docs {
		d.document(doc)
	}
	d.duplicates()
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Document, b.Document), cmp.Compare(a.Line, b.Line))
	})
	return d.objects, d.problems
}

type decoder struct {
	from     Origin
	objects  []Object
	problems []Problem
}

func (d *decoder) problem(document int, p yamldoc.Problem) {
	d.problems = append(d.problems, Problem{Source: d.from.Source, Name: d.from.Name, Document: document,
		Line: p.Line, Field: p.Field, Text: p.Text})
}

func (d *decoder) document(doc *yamldoc.Document) {
	if doc.Empty() {
		return
	}
	if dups := doc.Duplicates(); len(dups) > 0 {
		for _, p := range dups {
			d.problem(doc.Index, p)
		}
		return
	}
	kind, version := doc.String("kind"), doc.String("apiVersion")
	switch {
	case kind == "":
		d.problem(doc.Index, doc.At("kind", "missing: write kind: Pod, or another of "+kinds))
	case kind == "RuntimeClass" && version == "node.k8s.io/v1":
		d.object(doc, kind)
	case kind == "RuntimeClass":
		d.problem(doc.Index, doc.At("apiVersion", fmt.Sprintf("must be node.k8s.io/v1 for kind RuntimeClass, not %q", version)))
	case version != "v1":
		d.problem(doc.Index, doc.At("apiVersion", fmt.Sprintf("must be v1 for kind %s, not %q: this node takes %s",
			kind, version, kinds)))
	case kind == "List":
		for _, item := range doc.Items("items") {
			d.document(item)
		}
	case slices.Contains(strings.Split(kinds, ", "), strings.TrimSuffix(kind, "List")):
		each, typed := strings.CutSuffix(kind, "List")
		if !typed {
			d.object(doc, kind)
			return
		}
		for _, item := range doc.Items("items") { // of one kind, which they need not repeat
			if item.String("kind") == "" && item.String("apiVersion") == "" {
				d.object(item, each)
				continue
			}
			d.document(item)
		}
	default:
		d.problem(doc.Index, doc.At("kind", fmt.Sprintf("%s is not a kind that this node takes: it takes %s", kind, kinds)))
	}
}

const kinds = "Pod, ConfigMap, Secret, PersistentVolume, PersistentVolumeClaim, RuntimeClass, List"

func (d *decoder) object(doc *yamldoc.Document, kind string) {
	o, check := d.empty(kind)
	var errs field.ErrorList
	problems := doc.Decode(o)
	if len(problems) == 0 {
		errs = check()
	}
	for _, err := range errs {
		problems = append(problems, doc.At(err.Field, describe(err)))
	}
	for _, p := range problems {
		d.problem(doc.Index, p)
	}
	if len(problems) == 0 {
		d.objects = append(d.objects, Object{Object: o, Document: doc.Index, Line: doc.At("metadata.name", "").Line})
	}
}

// empty returns an object of a kind, and what gives it its defaults and checks it once it is decoded.
func (d *decoder) empty(kind string) (objects.Object, func() field.ErrorList) {
	switch kind {
	case "Pod":
		p := &v1.Pod{}
		return p, func() field.ErrorList { return d.pod(p) }
	case "ConfigMap":
		c := &v1.ConfigMap{}
		return c, func() field.ErrorList { namespaced(&c.ObjectMeta); return rules.ConfigMap(c) }
	case "Secret":
		s := &v1.Secret{}
		return s, func() field.ErrorList { namespaced(&s.ObjectMeta); defaultSecret(s); return rules.Secret(s) }
	case "PersistentVolume":
		v := &v1.PersistentVolume{}
		return v, func() field.ErrorList { defaultVolume(v); return rules.PersistentVolume(v) }
	case "PersistentVolumeClaim":
		c := &v1.PersistentVolumeClaim{}
		return c, func() field.ErrorList {
			namespaced(&c.ObjectMeta)
			defaultClaim(c)
			return rules.PersistentVolumeClaim(c)
		}
	}
	c := &nodev1.RuntimeClass{}
	return c, func() field.ErrorList { return rules.RuntimeClass(c) }
}

// pod gives a pod its identity, defaults and validation. It is validated under the name that its author gave it.
func (d *decoder) pod(p *v1.Pod) field.ErrorList {
	hash := contentHash(p, d.from)
	namespaced(&p.ObjectMeta)
	defaultPod(p)
	errs := append(rules.Pod(p), rules.StaticPod(p)...)
	identify(p, d.from, hash)
	if why := pod.Unnameable(p); len(errs) == 0 && why != "" {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), p.Name, why))
	}
	return errs
}

func namespaced(m *metav1.ObjectMeta) {
	m.Namespace = cmp.Or(m.Namespace, metav1.NamespaceDefault)
}

// duplicates drops objects that stand twice in one manifest: the first is kept.
func (d *decoder) duplicates() {
	first := map[objects.Key]int{}
	d.objects = slices.DeleteFunc(d.objects, func(o Object) bool {
		at, twice := first[o.Key()]
		if twice {
			d.problem(o.Document, yamldoc.Problem{Line: o.Line, Field: "metadata.name",
				Text: fmt.Sprintf("%s is also in document %d, which is used: give this one another name", o.Key(), at)})
			return true
		}
		first[o.Key()] = o.Document
		return false
	})
}

// describe is an API server's wording without the field's path, which stands before it.
func describe(err *field.Error) string { return err.ErrorBody() }
