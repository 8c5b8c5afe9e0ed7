package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// The budgets. What matters is the tail and the coupling, so each thing over its budget is named.
const (
	fileLines      = 400
	functionLines  = 80
	structFields   = 12
	parameters     = 5
	interfaceSize  = 5
	packageLines   = 1500
	packageImports = 8 // in-module, outside cmd
)

// overrun is one thing over its budget.
type overrun struct {
	kind, name string
	have, want int
}

// key is how exceptions.txt names it.
func (o overrun) key() string { return o.kind + " " + o.name }

func (o overrun) String() string {
	return fmt.Sprintf("%s %s: %d, budget %d", o.kind, o.name, o.have, o.want)
}

// budgets returns what is over, worst first within a kind, and the lines of the whole product.
func budgets(files []file) (over []overrun, lines int) {
	add := func(kind, name string, have, want int) {
		if have > want {
			over = append(over, overrun{kind, name, have, want})
		}
	}
	pkgLines, pkgImports := map[string]int{}, map[string]map[string]bool{}
	for _, f := range files {
		lines += f.lines
		pkgLines[f.pkg] += f.lines
		add("file", f.path, f.lines, fileLines)
		for _, i := range f.imports {
			if strings.HasPrefix(i, module+"/") && !strings.HasPrefix(f.pkg, "cmd/") {
				if pkgImports[f.pkg] == nil {
					pkgImports[f.pkg] = map[string]bool{}
				}
				pkgImports[f.pkg][i] = true
			}
		}
		syntaxBudgets(f, add)
	}
	for pkg, n := range pkgLines {
		add("package", pkg, n, packageLines)
	}
	for pkg, imports := range pkgImports {
		add("imports", pkg, len(imports), packageImports)
	}
	slices.SortFunc(over, func(a, b overrun) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(b.have, a.have), cmp.Compare(a.name, b.name))
	})
	return over, lines
}

func syntaxBudgets(f file, add func(kind, name string, have, want int)) {
	for _, d := range f.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := f.pkg + "." + receiver(d) + d.Name.Name
			add("function", name, f.set.Position(d.End()).Line-f.set.Position(d.Pos()).Line+1, functionLines)
			add("parameters", name, d.Type.Params.NumFields(), parameters)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				t, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				switch body := t.Type.(type) {
				case *ast.StructType:
					add("struct", f.pkg+"."+t.Name.Name, body.Fields.NumFields(), structFields)
				case *ast.InterfaceType:
					add("interface", f.pkg+"."+t.Name.Name, body.Methods.NumFields(), interfaceSize)
				}
			}
		}
	}
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}
