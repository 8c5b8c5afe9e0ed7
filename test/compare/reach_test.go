package compare

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// fields of the types of the core API that a pod's specification is made of, as Type.field, and whether a case sets them.
type fields map[string]bool

// TestCorpus_ReachesEveryFieldOfAPodsSpecification: what no case sets stands in unreached.yaml, with the reason.
func TestCorpus_ReachesEveryFieldOfAPodsSpecification(t *testing.T) {
	cases, err := LoadCases()
	if err != nil {
		t.Fatal(err)
	}
	f := fields{}
	f.declare(reflect.TypeFor[v1.PodSpec]())
	for _, c := range cases {
		if c.View != "" {
			continue
		}
		var p map[string]any
		if err := json.Unmarshal(c.Pod, &p); err != nil {
			t.Fatal(err)
		}
		f.reach(reflect.TypeFor[v1.PodSpec](), p["spec"])
	}
	b, err := os.ReadFile("unreached.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var unreached []struct{ Fields, Why string }
	if err := yaml.UnmarshalStrict(b, &unreached); err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(unreached))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		listed := false
		for i, u := range unreached {
			if regexp.MustCompile("^(" + u.Fields + ")$").MatchString(name) {
				listed, used[i] = true, used[i] || !f[name]
			}
		}
		if !f[name] && !listed {
			t.Errorf("no case sets %s: write one, or say why not in unreached.yaml", name)
		}
	}
	for i, u := range unreached {
		if !used[i] || u.Why == "" {
			t.Errorf("unreached.yaml: %s: every such field is reached, or the reason is missing", u.Fields)
		}
	}
}

// core is the struct behind a type of the core API, or nil.
func core(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[v1.PodSpec]().PkgPath() {
		return t
	}
	return nil
}

// each calls do with the fields of a struct by their names in JSON, those of inlined structs too.
func each(t reflect.Type, do func(owner reflect.Type, name string, of reflect.Type)) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			each(field.Type, do)
			continue
		}
		do(t, name, field.Type)
	}
}

func (f fields) declare(t reflect.Type) {
	each(t, func(owner reflect.Type, name string, of reflect.Type) {
		key := owner.Name() + "." + name
		if _, known := f[key]; known {
			return
		}
		f[key] = false
		if s := core(of); s != nil {
			f.declare(s)
		}
	})
}

func (f fields) reach(t reflect.Type, value any) {
	switch v := value.(type) {
	case []any:
		for _, entry := range v {
			f.reach(t, entry)
		}
	case map[string]any:
		each(t, func(owner reflect.Type, name string, of reflect.Type) {
			inner, set := v[name]
			if !set {
				return
			}
			f[owner.Name()+"."+name] = true
			if s := core(of); s != nil {
				f.reach(s, inner)
			}
		})
	}
}
