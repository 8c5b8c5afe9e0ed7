// Package rules is what an API server would refuse in the objects of a manifest, as far as a node acts on them: names
// that become paths, references, ranges, what excludes each other. It is pure: objects that have their defaults in, a list
// of errors with the paths of fields out. It changes nothing and decides nothing of this node (that is admission). Package
// manifest calls it, and tests it through what people write.
package rules
