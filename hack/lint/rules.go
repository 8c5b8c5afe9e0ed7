package main

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// The ranks of the dependency rule. A package imports packages of its own rank or a lower one; adapters do not import
// each other but for adapterImports.
const (
	vocabulary = iota
	decider
	adapter
	driver
	command
)

// ranks holds every package of pkg; one below another has the rank of the longest prefix. A new package gets a line here,
// which is when its place is decided.
var ranks = map[string]int{
	"pod": vocabulary, "config": vocabulary, "objects": vocabulary,
	// What every adapter writes files, walks trees and listens with.
	"atomicfile": vocabulary, "book": vocabulary, "hosttree": vocabulary, "localsocket": vocabulary,
	"sync": decider, "sync/plan": decider, "sync/life": decider, "status": decider, "resources": decider, "downward": decider,
	"cri": adapter, "cni": adapter, "csi": adapter, "cgroups": adapter, "volumes": adapter, "images": adapter,
	"probes": adapter, "logs": adapter, "stats": adapter, "record": adapter, "kube": adapter, "events": adapter,
	"footprint": adapter, "systemd": adapter, "userns": adapter, "podcert": adapter,
	"sync/loop": driver, "sync/act": driver, "sync/fuse": driver, "sync/observe": driver, "sync/sweep": driver, "reload": driver,
	"sources": driver, "eviction": driver, "node": driver, "server": driver,
	"certs": driver, "metrics": driver,
	"status/writer": driver,
}

// adapterImports are the imports between adapters that the design allows; kube is the API server's adapter, which events and certificates of pods go through.
var adapterImports = map[string][]string{"volumes": {"csi"}, "images": {"cri"}, "events": {"kube"}, "podcert": {"kube"}}

// pure are the files, by pattern, that decide: functions of their arguments alone.
var pure = []string{
	"pkg/pod/*.go", "pkg/sync/plan/*.go", "pkg/sync/life/*.go", "pkg/status/build*.go", "pkg/sources/merge*.go", "pkg/cri/convert*.go", "pkg/images/decide*.go",
	"pkg/probes/tally*.go", "pkg/eviction/decide*.go", "pkg/resources/admit*.go", "pkg/resources/qos*.go", "pkg/node/conditions*.go",
}

// impure is what a pure file may not import, as import paths or beginnings of them.
var impure = []string{"context", "os", "net", "net/", "log", "log/", "google.golang.org/grpc", "k8s.io/client-go"}

// rules returns what is wrong with the tree, each with its file and the rule.
func rules(files []file) []string {
	var errs []string
	for _, f := range files {
		for _, e := range slices.Concat(importErrors(f), pureErrors(f), codeErrors(f)) {
			errs = append(errs, f.path+e)
		}
	}
	return errs
}

// rankOf returns the rank and the package's family, the entry of ranks that it comes under.
func rankOf(pkg string) (rank int, family string, ok bool) {
	if pkg == "cmd" || pkg == "deploy" || strings.HasPrefix(pkg, "cmd/") { // deploy is files that commands write
		return command, "cmd", true
	}
	for p := strings.TrimPrefix(pkg, "pkg/"); p != "." && p != "/"; p = path.Dir(p) {
		if r, ok := ranks[p]; ok {
			return r, p, true
		}
	}
	return 0, "", false
}

func importErrors(f file) []string {
	var errs []string
	rank, family, ok := rankOf(f.pkg)
	if !ok {
		return []string{": package " + f.pkg + " has no rank: decide what may import it, in hack/lint/rules.go"}
	}
	for _, imported := range f.imports {
		if imported == "k8s.io/kubernetes" || strings.HasPrefix(imported, "k8s.io/kubernetes/") {
			errs = append(errs, ": imports "+imported+"; nothing may import k8s.io/kubernetes")
		}
		local, ok := strings.CutPrefix(imported, module+"/")
		if !ok {
			continue
		}
		r, other, ok := rankOf(local)
		switch {
		case !ok:
			errs = append(errs, ": the product imports "+local)
		case r > rank:
			errs = append(errs, fmt.Sprintf(": %s imports %s, which is to the right of it", f.pkg, local))
		case r == adapter && rank == adapter && other != family && !slices.Contains(adapterImports[family], other):
			errs = append(errs, fmt.Sprintf(": adapter %s imports adapter %s", f.pkg, local))
		case family == "sync/loop" && other == "sync/act":
			errs = append(errs, ": loop imports act; it declares the interfaces that it needs")
		}
	}
	return errs
}

func pureErrors(f file) []string {
	if !slices.ContainsFunc(pure, func(pattern string) bool {
		ok, _ := path.Match(pattern, f.path)
		return ok
	}) {
		return nil
	}
	var errs []string
	for _, i := range f.imports {
		bad := slices.ContainsFunc(impure, func(p string) bool {
			return i == p || strings.HasSuffix(p, "/") && strings.HasPrefix(i, p) || strings.HasPrefix(i, p+"/") && strings.Contains(p, ".")
		})
		if bad || f.pkg == "pkg/sync/plan" && strings.HasPrefix(i, "k8s.io/cri-api") {
			errs = append(errs, ": is pure, and imports "+i)
		}
	}
	// A library may want a logger: a zero klog.Logger logs nothing.
	for _, name := range []string{"Background", "FromContext", "TODO", "Info", "InfoS", "Infof", "Error", "ErrorS", "Errorf", "Warning", "Warningf", "V"} {
		for _, pos := range uses(f, "klog", name) {
			errs = append(errs, pos+": is pure, and logs: klog."+name)
		}
	}
	for _, call := range []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"} {
		for _, pos := range uses(f, "time", call) {
			errs = append(errs, pos+": is pure, and reads the clock: time."+call)
		}
	}
	return errs
}

// codeErrors finds what the design allows nowhere in the product.
func codeErrors(f file) []string {
	var errs []string
	for _, pos := range uses(f, "time", "Sleep") {
		errs = append(errs, pos+": sleeps; wait for what is awaited, or for the context")
	}
	if f.pkg != "cmd/minikubelet" && f.pkg != "cmd/minikubelet-cni" {
		for _, pos := range uses(f, "os", "Exit") {
			errs = append(errs, pos+": ends the process; return an error")
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				errs = append(errs, f.line(n)+": has an init function; wire things in cmd")
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "panic" {
				errs = append(errs, f.line(n)+": panics; return an error")
			}
		case *ast.BinaryExpr:
			if f.pkg != "pkg/pod" && (overflows(n.X, n.Y) || overflows(n.Y, n.X)) {
				errs = append(errs, f.line(n)+": multiplies by time.Second, which may overflow; use pod.Seconds")
			}
		case *ast.StructType:
			for _, field := range n.Fields.List {
				if s, ok := field.Type.(*ast.SelectorExpr); ok && isSelector(s, "context", "Context") {
					errs = append(errs, f.line(field)+": stores a context in a struct")
				}
			}
		}
		return true
	})
	return errs
}

// overflows reports whether a converted number is multiplied by a second: a user may have chosen it.
func overflows(number, unit ast.Expr) bool {
	call, ok := number.(*ast.CallExpr)
	second, selects := unit.(*ast.SelectorExpr)
	if !ok || !selects || !isSelector(second, "time", "Second") {
		return false
	}
	conversion, ok := call.Fun.(*ast.SelectorExpr)
	return ok && isSelector(conversion, "time", "Duration")
}

func (f file) line(n ast.Node) string { return fmt.Sprintf(":%d", f.set.Position(n.Pos()).Line) }

// uses finds pkg.name, for packages that nobody renames.
func uses(f file, pkg, name string) []string {
	var found []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && isSelector(s, pkg, name) {
			found = append(found, f.line(s))
		}
		return true
	})
	return found
}

func isSelector(s *ast.SelectorExpr, pkg, name string) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && s.Sel.Name == name
}
