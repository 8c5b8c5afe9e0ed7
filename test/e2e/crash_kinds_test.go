package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// actionKinds are the constants of plan.Kind, read from its source: a new kind cannot be left out.
func actionKinds(t *testing.T) []plan.Kind {
	t.Helper()
	files, err := filepath.Glob("../../pkg/sync/plan/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []plan.Kind
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
			kinds = append(kinds, plan.Kind(text))
			return true
		})
	}
	if len(kinds) < 10 {
		t.Fatalf("the kinds of actions were not found in %s: %q", files, kinds)
	}
	return kinds
}
