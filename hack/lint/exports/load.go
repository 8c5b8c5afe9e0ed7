package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath, Dir, Name, Export, ForTest string
	GoFiles                                []string
	ImportMap                              map[string]string
	Module                                 *struct{ Main bool }
}

// unit is one package of the module with its tests inside the package, or its tests outside.
type unit struct {
	path  string // of the package that it is, or tests
	name  string
	files []*ast.File
	fset  *token.FileSet
	pkg   *types.Package
	info  *types.Info
}

// load checks the types of the module's packages. What they import comes compiled, from the build cache.
func load(dir string) ([]unit, error) {
	all, err := list(dir)
	if err != nil {
		return nil, err
	}
	compiled, tested := map[string]string{}, map[string]bool{}
	for _, p := range all {
		compiled[p.ImportPath] = p.Export
		tested[p.ImportPath] = true
	}
	var units []unit
	for _, p := range all {
		base, _, variant := strings.Cut(p.ImportPath, " ")
		switch {
		case p.Module == nil || !p.Module.Main || strings.HasSuffix(base, ".test"):
			continue
		case !variant && tested[fmt.Sprintf("%s [%[1]s.test]", base)]: // the variant holds the same and more
			continue
		case variant && base != p.ForTest && base != p.ForTest+"_test": // built anew for the tests of what it imports
			continue
		}
		u, err := check(p, strings.TrimSuffix(base, "_test"), compiled)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	return units, nil
}

func list(dir string) ([]listed, error) {
	fields := "-json=ImportPath,Dir,Name,Export,ForTest,GoFiles,ImportMap,Module"
	c := exec.Command("go", "list", "-export", "-deps", "-test", fields, "./...")
	c.Dir = dir
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list the packages: %w", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

func check(p listed, path string, compiled map[string]string) (unit, error) {
	u := unit{path: path, name: p.Name, fset: token.NewFileSet(), info: &types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{},
	}}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(u.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return u, err
		}
		u.files = append(u.files, f)
	}
	open := func(path string) (io.ReadCloser, error) {
		if variant, ok := p.ImportMap[path]; ok {
			path = variant
		}
		return os.Open(compiled[path])
	}
	conf := types.Config{Importer: importer.ForCompiler(u.fset, "gc", open)}
	var err error
	u.pkg, err = conf.Check(path, u.fset, u.files, u.info)
	return u, err
}
