package manifest

import (
	"fmt"
	"strings"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Problem is one thing that is wrong in a source. What the source said at that place before stays in force.
type Problem struct {
	Source   pod.Source
	Name     string // the file's path, or the URL
	Document int    // from 1; 0: the whole file
	Line     int    // from 1; 0: not known
	Field    string // such as spec.containers[0].image
	Text     string // what is wrong and what to do about it
}

// String is the problem on one line: web.yaml: document 2: line 14: spec.containers[0].image: ...
func (p Problem) String() string {
	var b strings.Builder
	if p.Name != "" {
		b.WriteString(p.Name + ": ")
	}
	if p.Document > 0 {
		fmt.Fprintf(&b, "document %d: ", p.Document)
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	return b.String() + p.Text
}
