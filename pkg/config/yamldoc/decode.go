package yamldoc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

// Decode checks a document against the type that into points to and, when nothing is wrong, decodes it. Every problem is
// returned; into is only changed when there is none.
func (d *Document) Decode(into any) []Problem {
	t := reflect.TypeOf(into).Elem()
	root := d.root
	if root == nil {
		root = &node{line: d.first}
	}
	if root.kind != object {
		return []Problem{{Line: root.line, Field: d.path, Text: "must be an object, but this is " + root.kind.String()}}
	}
	c := checker{types: map[reflect.Type]map[string]reflect.Type{}}
	c.check(root, t, d.path)
	if len(c.problems) > 0 {
		return c.problems
	}
	fresh := reflect.New(t)
	if err := kjson.UnmarshalCaseSensitivePreserveInts(encode(nil, root), fresh.Interface()); err != nil {
		return []Problem{{Line: root.line, Field: d.path, Text: err.Error()}}
	}
	reflect.ValueOf(into).Elem().Set(fresh.Elem())
	return nil
}

type checker struct {
	types    map[reflect.Type]map[string]reflect.Type // struct: JSON name to type of field
	problems []Problem
}

func (c *checker) add(n *node, path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Line: n.line, Field: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) check(n *node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.kind == null {
		return
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		if err := json.Unmarshal(encode(nil, n), reflect.New(t).Interface()); err != nil {
			c.add(n, path, "cannot read %s as %s: %v", short(n), t.Name(), err)
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.object(n, t, path)
	case reflect.Map:
		if c.want(n, object, path) {
			for _, f := range n.fields {
				c.check(f.value, t.Elem(), path+"["+f.name+"]")
			}
		}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			c.base64(n, path)
		} else if c.want(n, list, path) {
			for i, item := range n.items {
				c.check(item, t.Elem(), path+index(i))
			}
		}
	case reflect.Interface:
	default:
		c.scalar(n, t, path)
	}
}

func (c *checker) object(n *node, t reflect.Type, path string) {
	if !c.want(n, object, path) {
		return
	}
	known := c.fields(t)
	for _, f := range n.fields {
		ft, ok := known[f.name]
		if !ok {
			where := &node{line: f.line}
			if near := nearest(f.name, known); near != "" {
				c.add(where, join(path, f.name), "unknown field: did you mean %q?", near)
			} else {
				c.add(where, join(path, f.name), "unknown field: remove it or correct its name")
			}
			continue
		}
		c.check(f.value, ft, join(path, f.name))
	}
}

func (c *checker) want(n *node, k kind, path string) bool {
	if n.kind != k {
		c.add(n, path, "must be %s, but this is %s", k, short(n))
	}
	return n.kind == k
}

func (c *checker) scalar(n *node, t reflect.Type, path string) {
	switch t.Kind() {
	case reflect.String:
		if n.kind == boolean || n.kind == integer || n.kind == float {
			c.add(n, path, "must be a string, but this is %s: put it in quotes", short(n))
			return
		}
		c.want(n, text, path)
	case reflect.Bool:
		c.want(n, boolean, path)
	case reflect.Float32, reflect.Float64:
		if n.kind != integer {
			c.want(n, float, path)
		}
	default:
		if !c.want(n, integer, path) {
			return
		}
		if _, err := strconv.ParseInt(n.text, 10, t.Bits()); err != nil {
			c.add(n, path, "the number %s does not fit into %d bits", n.text, t.Bits())
		}
	}
}

func (c *checker) base64(n *node, path string) {
	if !c.want(n, text, path) {
		return
	}
	if _, err := base64.StdEncoding.DecodeString(n.text); err != nil {
		c.add(n, path, "must be base64: encode it, or use stringData in a Secret and data in a ConfigMap for plain text")
	}
}

// fields maps the JSON names of a struct's fields to their types, those of inlined structs included.
func (c *checker) fields(t reflect.Type) map[string]reflect.Type {
	if m, ok := c.types[t]; ok {
		return m
	}
	m := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && (f.Anonymous || strings.Contains(options, "inline")):
			inner := f.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			for k, v := range c.fields(inner) {
				m[k] = v
			}
		case name == "":
			m[f.Name] = f.Type
		default:
			m[name] = f.Type
		}
	}
	c.types[t] = m
	return m
}

// Set lists the paths of the values that a document sets, lists and free-form maps as one value each. A zero value (null,
// 0, false, "", 0s, {}) counts as not set unless the field of the type like, a struct, is a pointer.
func (d *Document) Set(like any) []string {
	c := checker{types: map[reflect.Type]map[string]reflect.Type{}}
	var out []string
	var walk func(n *node, t reflect.Type, path string)
	walk = func(n *node, t reflect.Type, path string) {
		pointer := t.Kind() == reflect.Pointer
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case n.kind == null:
		case n.kind == object && t.Kind() == reflect.Struct:
			known := c.fields(t)
			for _, f := range n.fields {
				if ft, ok := known[f.name]; ok {
					walk(f.value, ft, join(path, f.name))
				}
			}
		case pointer || !n.zero(t):
			out = append(out, path)
		}
	}
	if d.root != nil {
		walk(d.root, reflect.TypeOf(like), "")
	}
	return out
}

// zero reports whether a value is its type's zero. A string "0" is not; a duration or a quantity that is written so is.
func (n *node) zero(t reflect.Type) bool {
	switch n.kind {
	case text:
		if t.Kind() == reflect.String {
			return n.text == ""
		}
		return n.text == "" || n.text == "0s" || n.text == "0"
	case integer:
		return n.text == "0"
	case boolean:
		return n.text == "false"
	}
	return len(n.fields)+len(n.items) == 0
}

// Text returns a scalar's text as JSON would hold it without quotes, or "" for what is no scalar.
func (d *Document) Text(path string) string {
	n := d.root
	for _, s := range steps(path) {
		if n, _ = n.step(s); n == nil {
			return ""
		}
	}
	return n.text
}

func encode(b []byte, n *node) []byte {
	switch n.kind {
	case null:
		return append(b, "null"...)
	case text:
		return appendString(b, n.text)
	case list:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = encode(b, item)
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, f := range n.fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, f.name), ':')
			b = encode(b, f.value)
		}
		return append(b, '}')
	}
	return append(b, n.text...)
}

func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return append(b, `""`...)
	}
	return append(b, q...)
}

func short(n *node) string {
	switch {
	case n.kind == list || n.kind == object || n.kind == null:
		return n.kind.String()
	case len(n.text) > 40:
		return n.kind.String() + " (" + strconv.Quote(n.text[:40]+"...") + ")"
	}
	return n.kind.String() + " (" + n.text + ")"
}
