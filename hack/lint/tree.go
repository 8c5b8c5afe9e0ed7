package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const module = "github.com/minikubelet/minikubelet"

// file is one source file of the product, without its tests.
type file struct {
	path    string // from the root of the module, with slashes
	pkg     string // its directory
	set     *token.FileSet
	syntax  *ast.File
	lines   int
	imports []string
}

// readTree parses the files of cmd and pkg. Generated files, tests, and the packages that hold a suite for them (critest)
// are left out.
func readTree(root string) ([]file, error) {
	var files []file
	for _, top := range []string{"cmd", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test")):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
				return nil
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			f, err := readFile(name, filepath.ToSlash(rel))
			if err != nil {
				return err
			}
			if !ast.IsGenerated(f.syntax) {
				files = append(files, f)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readFile(name, rel string) (file, error) {
	source, err := os.ReadFile(name)
	if err != nil {
		return file{}, err
	}
	f := file{path: rel, pkg: path.Dir(rel), set: token.NewFileSet(), lines: bytes.Count(source, []byte("\n"))}
	f.syntax, err = parser.ParseFile(f.set, rel, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	for _, i := range f.syntax.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, p)
	}
	return f, nil
}

// readExceptions reads lines of "kind name: reason". A line without a reason is an error.
func readExceptions(name string) (map[string]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	reasons := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, ": ")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s: %q gives no reason", name, line)
		}
		reasons[key] = reason
	}
	return reasons, nil
}
