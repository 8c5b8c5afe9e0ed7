package yamldoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxWeight = 1_000_000 // values and 32-byte pieces of text in one document, with aliases counted wherever they are used
	maxDepth  = 100       // no Kubernetes type is nested deeper than about 30
)

// Parse splits a file into documents. A document that cannot be read is among the problems, by its index; the others are
// returned.
func Parse(data []byte) (docs []*Document, problems map[int]Problem) {
	problems = map[int]Problem{}
	if d := parseJSON(data); d != nil {
		return []*Document{d}, problems
	}
	n := 0
	for _, c := range split(data) {
		if blank(c.data) {
			continue
		}
		n++
		d, err := parseYAML(c.data, c.line)
		if err != nil {
			problems[n] = *err
			continue
		}
		d.Index = n
		docs = append(docs, d)
	}
	return docs, problems
}

type chunk struct {
	data []byte
	line int // of its first line, from 1
}

// split cuts before lines that begin with the marker "---" and after those that begin with "...", which both end a document
// (YAML 1.2, 9.1.2). It does not need the text around them to be well formed.
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var out []chunk
	start, line, startLine := 0, 1, 1
	for pos := 0; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		switch {
		case isMarker(data[pos:end], "---"):
			out = append(out, chunk{data[start:pos], startLine})
			start, startLine = pos, line
		case isMarker(data[pos:end], "..."):
			out = append(out, chunk{data[start:end], startLine})
			start, startLine = end, line+1
		}
		pos = end
	}
	return append(out, chunk{data[start:], startLine})
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// blank reports whether a chunk has nothing but comments, directives and markers.
func blank(data []byte) bool {
	for l := range bytes.Lines(data) {
		l = bytes.TrimSpace(l)
		if len(l) > 0 && l[0] != '#' && l[0] != '%' && !bytes.Equal(l, []byte("---")) && !bytes.Equal(l, []byte("...")) {
			return false
		}
	}
	return true
}

func parseYAML(data []byte, first int) (*Document, *Problem) {
	var root, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) {
		return &Document{first: first}, nil
	}
	if err == nil {
		if err = dec.Decode(&more); err == nil { // nothing is ever dropped in silence
			return nil, &Problem{Line: first + max(more.Line, 1) - 1, Text: "not valid YAML: a second document begins here: write --- before it"}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		p := Problem{Line: first}
		why := strings.TrimPrefix(err.Error(), "yaml: ")
		if rest, ok := strings.CutPrefix(why, "line "); ok {
			at, what, _ := strings.Cut(rest, ": ")
			if n, err := strconv.Atoi(at); err == nil {
				p.Line, why = first+n-1, what
				if strings.HasPrefix(what, "did not find expected") { // its parser counts from 0, its scanner from 1
					p.Line++
				}
			}
		}
		p.Text = "not valid YAML: " + why
		return nil, &p
	}
	if len(root.Content) == 0 {
		return &Document{first: first}, nil
	}
	c := converter{offset: first - 1, done: map[*yaml.Node]*node{}}
	n, p := c.node(root.Content[0], 0)
	if p != nil {
		return nil, p
	}
	return &Document{root: n, first: n.line, dups: c.dups}, nil
}

// parseJSON returns nil when the data is not one JSON object: it may still be YAML, which has a flow style that looks
// alike. JSON has escapes that a YAML reader refuses.
func parseJSON(data []byte) *Document {
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return nil
	}
	r := jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	r.dec.UseNumber()
	n, err := r.value("", 0)
	if err != nil {
		return nil
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil
	}
	return &Document{Index: 1, root: n, first: n.line, dups: r.dups}
}

type jsonReader struct {
	dec  *json.Decoder
	data []byte
	pos  int64 // up to which line counts
	line int
	dups []Problem
}

// at moves the line count up to what was read last.
func (r *jsonReader) at() int {
	if end := r.dec.InputOffset(); end > r.pos {
		r.line += bytes.Count(r.data[r.pos:end], []byte{'\n'})
		r.pos = end
	}
	return r.line
}

func (r *jsonReader) value(path string, depth int) (*node, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: r.at()}
	switch t := t.(type) {
	case json.Delim:
		if depth > maxDepth {
			return nil, errors.New("nested too deeply")
		}
		return n, r.children(n, t, path, depth+1)
	case string:
		n.kind, n.text = text, t
	case bool:
		n.kind, n.text = boolean, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = integer, t.String()
		if strings.ContainsAny(n.text, ".eE") {
			n.kind = float
		}
	}
	return n, nil
}

func (r *jsonReader) children(n *node, open json.Delim, path string, depth int) error {
	n.kind = list
	if open == '{' {
		n.kind = object
	}
	for r.dec.More() {
		if open == '[' {
			item, err := r.value(path+index(len(n.items)), depth)
			if err != nil {
				return err
			}
			n.items = append(n.items, item)
			continue
		}
		key, err := r.dec.Token()
		if err != nil {
			return err
		}
		f := fieldNode{name: fmt.Sprint(key), line: r.at()}
		if f.value, err = r.value(join(path, f.name), depth); err != nil {
			return err
		}
		n.set(f, func() string { return path }, &r.dups)
	}
	_, err := r.dec.Token()
	return err
}

// set adds a field; the first of two with one name is kept and the second is a problem.
func (n *node) set(f fieldNode, at func() string, dups *[]Problem) {
	for _, g := range n.fields {
		if g.name == f.name {
			*dups = append(*dups, Problem{Line: f.line, Field: join(at(), f.name),
				Text: fmt.Sprintf("set twice: it is also on line %d", g.line)})
			return
		}
	}
	n.fields = append(n.fields, f)
}
