// Command lint holds the product, cmd and pkg, to the design's own rules, which no linter knows: which package may import
// which, what pure code may use, what no code may do, and the budgets of size and coupling.
//
// A broken rule is an error, and exit code 1. A budget is a smoke alarm: going over it is a warning, unless
// exceptions.txt gives the reason. The lines of a ring are a ratchet: more than its ceiling is an error. The command reads
// syntax alone, so that it works on a tree that does not compile, and takes a fraction of a second. `make lint` runs it
// after the other checks, see hack/lint/run.
package main
