package yamldoc

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// converter turns the YAML library's nodes into ours: aliases and merge keys resolved, scalars typed, lines counted from
// the start of the file.
type converter struct {
	offset int                  // lines before the document
	done   map[*yaml.Node]*node // anchored values; nil while one is being read
	dups   []Problem
	path   []string
}

func (c *converter) fail(y *yaml.Node, format string, args ...any) (*node, *Problem) {
	return nil, &Problem{Line: y.Line + c.offset, Field: c.at(), Text: fmt.Sprintf(format, args...)}
}

func (c *converter) at() string {
	path := ""
	for _, p := range c.path {
		path = join(path, p)
	}
	return path
}

func (c *converter) node(y *yaml.Node, depth int) (*node, *Problem) {
	if depth > maxDepth {
		return c.fail(y, "nested more than %d levels deep", maxDepth)
	}
	if y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	if n, seen := c.done[y]; seen {
		if n == nil {
			return c.fail(y, "the anchor &%s contains itself", y.Anchor)
		}
		return n, nil
	}
	if y.Anchor != "" {
		c.done[y] = nil
	}
	n := &node{line: y.Line + c.offset, weight: 1 + len(y.Value)/32}
	var p *Problem
	switch y.Kind {
	case yaml.ScalarNode:
		p = c.scalar(n, y)
	case yaml.SequenceNode:
		n.kind = list
		p = c.items(n, y, depth)
	case yaml.MappingNode:
		n.kind = object
		p = c.fields(n, y, depth)
	}
	if p != nil {
		return nil, p
	}
	if n.weight > maxWeight {
		return c.fail(y, "too large once its aliases are expanded")
	}
	if y.Anchor != "" {
		c.done[y] = n
	}
	return n, nil
}

func (c *converter) items(n *node, y *yaml.Node, depth int) *Problem {
	for i, content := range y.Content {
		c.path = append(c.path, index(i))
		item, p := c.node(content, depth+1)
		if p != nil {
			return p
		}
		c.path = c.path[:len(c.path)-1]
		n.items = append(n.items, item)
		n.weight += item.weight
	}
	return nil
}

func (c *converter) fields(n *node, y *yaml.Node, depth int) *Problem {
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			_, p := c.fail(key, "a key must be a plain word")
			return p
		}
		c.path = append(c.path, key.Value)
		value, p := c.node(y.Content[i+1], depth+1)
		if p != nil {
			return p
		}
		c.path = c.path[:len(c.path)-1]
		n.weight += value.weight + len(key.Value)/32
		if key.Tag == "!!merge" {
			if value.kind == list {
				merged = append(merged, value.items...)
			} else {
				merged = append(merged, value)
			}
			continue
		}
		n.set(fieldNode{name: key.Value, line: y.Content[i].Line + c.offset, value: value}, c.at, &c.dups)
	}
	for _, m := range merged { // what stands in the object itself wins, then the first merged
		if m.kind != object {
			_, p := c.fail(y, "<< must name an object or a list of objects")
			return p
		}
		for _, f := range m.fields {
			if n.field(f.name) == nil {
				n.fields = append(n.fields, f)
			}
		}
	}
	return nil
}

func (c *converter) scalar(n *node, y *yaml.Node) *Problem {
	n.kind, n.text = text, y.Value
	plain := y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch y.ShortTag() {
	case "!!null":
		n.kind, n.text = null, ""
	case "!!bool":
		var b bool
		if err := y.Decode(&b); err != nil {
			_, p := c.fail(y, "not a boolean: %q", y.Value)
			return p
		}
		n.kind, n.text = boolean, strconv.FormatBool(b)
	case "!!int", "!!float":
		return c.number(n, y)
	case "!!str":
		if !plain || y.Style&yaml.TaggedStyle != 0 {
			break
		}
		switch strings.ToLower(y.Value) { // YAML 1.1, as kubectl reads it
		case "y", "yes", "on":
			n.kind, n.text = boolean, "true"
		case "n", "no", "off":
			n.kind, n.text = boolean, "false"
		}
	case "!!binary":
		_, p := c.fail(y, "the tag !!binary is not supported: use a field that takes base64, such as binaryData")
		return p
	}
	return nil
}

func (c *converter) number(n *node, y *yaml.Node) *Problem {
	digits := strings.ReplaceAll(y.Value, "_", "")
	if i, err := strconv.ParseInt(digits, 0, 64); err == nil {
		n.kind, n.text = integer, strconv.FormatInt(i, 10)
		return nil
	}
	if u, err := strconv.ParseUint(digits, 0, 64); err == nil {
		n.kind, n.text = integer, strconv.FormatUint(u, 10)
		return nil
	}
	var f float64
	if err := y.Decode(&f); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		_, p := c.fail(y, "not a number that Kubernetes knows: %q", y.Value)
		return p
	}
	n.kind, n.text = float, strconv.FormatFloat(f, 'g', -1, 64)
	return nil
}
