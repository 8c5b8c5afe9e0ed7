package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The list is held against the constants of this package's source, so that a new kind cannot be left out of it.
func TestKinds_AreAllThatAreDeclared(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []Kind
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Kind" || len(spec.Values) != 1 {
				return true
			}
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, Kind(text))
			return true
		})
	}
	if diff := cmp.Diff(declared, Kinds()); diff != "" {
		t.Errorf("Kinds() lacks or has more than the constants (-declared +listed):\n%s", diff)
	}
	if slices.Contains(declared, "") || len(declared) < 10 {
		t.Errorf("the constants were not found: %q", declared)
	}
}
