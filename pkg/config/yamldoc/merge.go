package yamldoc

import (
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Merge lays one document over another as RFC 7386 has it: objects and maps are merged, all else is replaced, and null
// takes away. Neither document changes. A nil or empty base is a document without fields.
func Merge(base, over *Document) *Document {
	if base == nil || base.root == nil {
		base = &Document{root: &node{kind: object}}
	}
	return &Document{Index: base.Index, root: merge(base.root, over.root), first: base.first}
}

func merge(base, over *node) *node {
	if over == nil {
		return base
	}
	if over.kind != object {
		return over
	}
	out := &node{kind: object, line: over.line}
	if base != nil && base.kind == object {
		out.fields = slices.Clone(base.fields)
	}
	for _, f := range over.fields {
		i := slices.IndexFunc(out.fields, func(g fieldNode) bool { return g.name == f.name })
		switch {
		case f.value.kind == null && i >= 0:
			out.fields = slices.Delete(out.fields, i, i+1)
		case f.value.kind == null:
		case i >= 0:
			out.fields[i] = fieldNode{name: f.name, line: f.line, value: merge(out.fields[i].value, f.value)}
		default:
			out.fields = append(out.fields, fieldNode{name: f.name, line: f.line, value: merge(nil, f.value)})
		}
	}
	return out
}

// Value is one value that a document sets.
type Value struct {
	Path string // such as maxPods or evictionHard[memory.available]
	Line int
	Text string // as JSON
	Null bool   // what stood there before is taken away
}

// Values lists what a document sets, in its order: a list is one value, each entry of a map is one. Zero values count as in
// Set; null counts.
func (d *Document) Values(like any) []Value {
	c := checker{types: map[reflect.Type]map[string]reflect.Type{}}
	var out []Value
	var walk func(n *node, line int, t reflect.Type, path string)
	walk = func(n *node, line int, t reflect.Type, path string) {
		pointer := t.Kind() == reflect.Pointer
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case n.kind == null:
			out = append(out, Value{Path: path, Line: line, Null: true})
		case n.kind == object && t.Kind() == reflect.Struct:
			known := c.fields(t)
			for _, f := range n.fields {
				if ft, ok := known[f.name]; ok {
					walk(f.value, f.line, ft, join(path, f.name))
				}
			}
		case n.kind == object && t.Kind() == reflect.Map && len(n.fields) == 0:
			out = append(out, Value{Path: path, Line: line, Text: "{}"})
		case n.kind == object && t.Kind() == reflect.Map:
			for _, f := range n.fields {
				out = append(out, Value{Path: path + "[" + f.name + "]", Line: f.line, Text: string(encode(nil, f.value)), Null: f.value.kind == null})
			}
		case pointer || !n.zero(t):
			out = append(out, Value{Path: path, Line: line, Text: string(encode(nil, n))})
		}
	}
	if d.root != nil {
		walk(d.root, d.root.line, reflect.TypeOf(like), "")
	}
	return out
}

// YAML writes the values of a document that comment names, each with the comment behind it. It goes by the paths of Values.
func (d *Document) YAML(comment func(path string) (text string, ok bool)) ([]byte, error) {
	var build func(n *node, path string) *yaml.Node
	build = func(n *node, path string) *yaml.Node {
		if text, ok := comment(path); ok && path != "" {
			y := plain(n)
			y.LineComment = text
			return y
		}
		if n.kind != object {
			return nil
		}
		y := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range n.fields {
			value := build(f.value, join(path, f.name))
			if value == nil {
				if value = build(f.value, path+"["+f.name+"]"); value == nil {
					continue
				}
			}
			key := &yaml.Node{}
			key.SetString(f.name)
			y.Content = append(y.Content, key, value)
		}
		if len(y.Content) == 0 && path != "" {
			return nil
		}
		return y
	}
	if d.Empty() {
		return nil, nil
	}
	return yaml.Marshal(build(d.root, ""))
}

// plain is a value in flow style, so that it takes one line.
func plain(n *node) *yaml.Node {
	y := &yaml.Node{Style: yaml.FlowStyle}
	switch n.kind {
	case list:
		y.Kind = yaml.SequenceNode
		for _, item := range n.items {
			y.Content = append(y.Content, plain(item))
		}
	case object:
		y.Kind = yaml.MappingNode
		for _, f := range n.fields {
			key := &yaml.Node{}
			key.SetString(f.name)
			y.Content = append(y.Content, key, plain(f.value))
		}
	case text:
		y.SetString(n.text)
	default:
		y.Kind, y.Value, y.Style = yaml.ScalarNode, n.text, 0
		if n.kind == null {
			y.Value = "null"
		}
	}
	return y
}

// JSON writes the document.
func (d *Document) JSON() []byte {
	if d.root == nil {
		return []byte("{}")
	}
	return encode(nil, d.root)
}
