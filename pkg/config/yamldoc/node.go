package yamldoc

import (
	"fmt"
	"strconv"
	"strings"
)

type kind int

const (
	null kind = iota
	boolean
	integer
	float
	text
	list
	object
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a number", "a string", "a list", "an object"}[k]
}

// node is one value of a document. Aliased values are shared, never copied.
type node struct {
	kind   kind
	line   int    // from 1, in the file
	text   string // scalars: the value; numbers as JSON writes them
	fields []fieldNode
	items  []*node
	weight int // of the node and all below it
}

type fieldNode struct {
	name  string
	line  int
	value *node
}

func (n *node) field(name string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].name == name {
			return n.fields[i].value
		}
	}
	return nil
}

// Problem is one thing that is wrong in a document.
type Problem struct {
	Line  int    // from 1, in the file; 0: not known
	Field string // path of the field, such as spec.containers[0].image; empty for the document itself
	Text  string // what is wrong and what to do about it
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	return b.String() + p.Text
}

// Document is one document of a file.
type Document struct {
	Index int // from 1
	root  *node
	path  string // of root in the document, for the items of a list
	first int    // line on which the document begins
	dups  []Problem
}

// String returns the text of a top-level field, such as kind, or "".
func (d *Document) String(field string) string {
	if n := d.root.field(field); n != nil && n.kind == text {
		return n.text
	}
	return ""
}

// Empty reports whether the document says nothing: comments alone, or null.
func (d *Document) Empty() bool { return d.root == nil || d.root.kind == null }

// Items returns the elements of a list field as documents of their own, under the same index.
func (d *Document) Items(field string) []*Document {
	n := d.root.field(field)
	if n == nil || n.kind != list {
		return nil
	}
	out := make([]*Document, 0, len(n.items))
	for i, item := range n.items {
		out = append(out, &Document{Index: d.Index, root: item, path: join(d.path, field) + index(i), first: item.line})
	}
	return out
}

// Duplicates are the keys that stand twice in one object, anywhere in the document.
func (d *Document) Duplicates() []Problem { return d.dups }

// At is a problem with a field of the document, with its line. A field that does not exist has the line of the nearest
// object around it.
func (d *Document) At(path, why string) Problem {
	line, n := d.first, d.root
	if n != nil && n.line > 0 {
		line = n.line
	}
	for _, step := range steps(path) {
		next, at := n.step(step)
		if next == nil {
			break
		}
		n, line = next, at
	}
	return Problem{Line: line, Field: join(d.path, path), Text: why}
}

func (n *node) step(step string) (*node, int) {
	switch {
	case n == nil:
	case n.kind == list:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.items) {
			return n.items[i], n.items[i].line
		}
	case n.kind == object:
		for i := range n.fields {
			if n.fields[i].name == step {
				return n.fields[i].value, n.fields[i].line
			}
		}
	}
	return nil, 0
}

// steps splits a.b[0].c[some.key] into a, b, 0, c, some.key.
func steps(path string) []string {
	var out []string
	for path != "" {
		switch end := strings.IndexAny(path, ".["); {
		case path[0] == '.':
			path = path[1:]
		case path[0] == '[':
			inner, rest, _ := strings.Cut(path[1:], "]")
			out, path = append(out, inner), rest
		case end < 0:
			out, path = append(out, path), ""
		default:
			out, path = append(out, path[:end]), path[end:]
		}
	}
	return out
}

func join(path, field string) string {
	switch {
	case path == "":
		return field
	case field == "" || field[0] == '[':
		return path + field
	}
	return path + "." + field
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }
