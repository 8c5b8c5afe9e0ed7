// Package subpath gives containers parts of volumes safely: a path is opened beneath its volume, without a link that
// leads out, and what was opened is bound to a place of its own, so that nobody can swap it for a link to elsewhere later
// (CVE-2017-1002101). It knows nothing of kinds of volumes. Package volumes, its only caller, holds a volume while it
// binds, and undoes the binds before it unmounts.
package subpath
