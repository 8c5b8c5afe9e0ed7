package main

import (
	"cmp"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// byName are the methods that libraries call through interfaces of their own, which a program need not import.
var byName = map[string]bool{
	"String": true, "Error": true, "Is": true, "As": true, "Unwrap": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true,
}

// export is something that a package offers to others: a name of the package, or a method of such a type.
type export struct {
	obj types.Object
	pos token.Position
	// also are the exports that whoever uses this one holds in hand: the types in its signature and its fields.
	also []string
}

// unused returns what is exported and used by no other package: sorted by file and line.
func unused(units []unit) []string {
	exports, used, wanted := map[string]export{}, map[string]bool{}, map[string]bool{}
	for _, u := range units {
		declared(u, exports)
		foreign(u, used)
		interfaces(u, wanted)
	}
	for key, e := range exports {
		if f, ok := e.obj.(*types.Func); ok && f.Signature().Recv() != nil && (byName[f.Name()] || wanted[shape(f)]) {
			used[key] = true
		}
	}
	queue := slices.Collect(maps.Keys(used))
	for len(queue) > 0 {
		key := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, other := range exports[key].also {
			if !used[other] {
				used[other] = true
				queue = append(queue, other)
			}
		}
	}
	var left []export
	for key, e := range exports {
		if !used[key] {
			left = append(left, e)
		}
	}
	slices.SortFunc(left, func(a, b export) int {
		return cmp.Or(cmp.Compare(a.pos.Filename, b.pos.Filename), cmp.Compare(a.pos.Line, b.pos.Line))
	})
	var lines []string
	for _, e := range left {
		lines = append(lines, e.pos.String()+": "+strings.TrimPrefix(keyOf(e.obj), e.obj.Pkg().Path()+"."))
	}
	return lines
}

// declared adds what the package exports in files that are no tests. A program exports nothing.
func declared(u unit, exports map[string]export) {
	if u.name == "main" || strings.HasSuffix(u.name, "_test") {
		return
	}
	grouped := groups(u)
	for id, obj := range u.info.Defs {
		pos := u.fset.Position(id.Pos())
		if obj == nil || !obj.Exported() || strings.HasSuffix(pos.Filename, "_test.go") {
			continue
		}
		key := keyOf(obj)
		if key == "" {
			continue
		}
		e := export{obj: obj, pos: pos}
		mentioned(obj, func(t *types.TypeName) { e.also = append(e.also, keyOf(t)) })
		for _, other := range grouped[id] {
			e.also = append(e.also, u.path+"."+other)
		}
		exports[key] = e
	}
}

// groups returns, for each name of a group of constants or variables, the names of the group: it is exported as a whole.
func groups(u unit) map[*ast.Ident][]string {
	of := map[*ast.Ident][]string{}
	for _, f := range u.files {
		for _, d := range f.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			var ids []*ast.Ident
			var names []string
			for _, s := range group.Specs {
				if values, ok := s.(*ast.ValueSpec); ok {
					for _, id := range values.Names {
						ids, names = append(ids, id), append(names, id.Name)
					}
				}
			}
			for _, id := range ids {
				of[id] = names
			}
		}
	}
	return of
}

// foreign adds what the unit uses of other packages.
func foreign(u unit, used map[string]bool) {
	for _, obj := range u.info.Uses {
		if obj.Pkg() != nil && (obj.Pkg().Path() != u.path || strings.HasSuffix(u.name, "_test")) && obj.Exported() {
			used[keyOf(obj)] = true
		}
	}
}

// interfaces adds the methods of each interface that the unit mentions, and of those of the packages that it imports.
func interfaces(u unit, wanted map[string]bool) {
	add := func(t types.Type) {
		if i, ok := t.Underlying().(*types.Interface); ok {
			for m := range i.Methods() {
				wanted[shape(m)] = true
			}
		}
	}
	for e, tv := range u.info.Types {
		if _, ok := e.(*ast.InterfaceType); ok && tv.IsType() {
			add(tv.Type)
		}
	}
	for _, p := range u.pkg.Imports() {
		for _, name := range p.Scope().Names() {
			if t, ok := p.Scope().Lookup(name).(*types.TypeName); ok && t.Exported() {
				add(t.Type())
			}
		}
	}
}

// keyOf names an object across packages that were read each by itself. It is empty for what is no name of a package and
// no method.
func keyOf(obj types.Object) string {
	if f, ok := obj.(*types.Func); ok && f.Signature().Recv() != nil {
		t := f.Signature().Recv().Type()
		if p, ok := t.(*types.Pointer); ok {
			t = p.Elem()
		}
		named, ok := t.(*types.Named)
		if !ok || !named.Obj().Exported() {
			return ""
		}
		return keyOf(named.Obj()) + "." + f.Name()
	}
	if obj.Pkg() == nil || obj.Parent() != obj.Pkg().Scope() {
		return ""
	}
	return obj.Pkg().Path() + "." + obj.Name()
}

// shape is a method's name and signature, without the names of its parameters.
func shape(f *types.Func) string {
	bare := func(vars *types.Tuple) *types.Tuple {
		var list []*types.Var
		for v := range vars.Variables() {
			list = append(list, types.NewParam(token.NoPos, nil, "", v.Type()))
		}
		return types.NewTuple(list...)
	}
	s := f.Signature()
	return f.Name() + types.TypeString(types.NewSignatureType(nil, nil, nil, bare(s.Params()), bare(s.Results()), s.Variadic()), nil)
}

// mentioned calls yield for each named type in the signature of a function, the type of a variable or constant, and the
// exported fields and the interface of a type.
func mentioned(obj types.Object, yield func(*types.TypeName)) {
	if t, ok := obj.(*types.TypeName); ok && !t.IsAlias() {
		walk(t.Type().Underlying(), yield)
		return
	}
	walk(obj.Type(), yield)
}

func walk(t types.Type, yield func(*types.TypeName)) {
	switch t := t.(type) {
	case *types.Alias:
		yield(t.Obj())
		walk(types.Unalias(t), yield)
	case *types.Named:
		yield(t.Obj())
		for arg := range t.TypeArgs().Types() {
			walk(arg, yield)
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				walk(f.Type(), yield)
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			walk(m.Signature(), yield)
		}
	case *types.Signature:
		walk(t.Params(), yield)
		walk(t.Results(), yield)
	case *types.Tuple:
		for v := range t.Variables() {
			walk(v.Type(), yield)
		}
	case *types.Map:
		walk(t.Key(), yield)
		walk(t.Elem(), yield)
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		walk(t.Elem(), yield)
	}
}
