// Package downward reads a pod's own fields for its containers: the downward API, as environment variables and volumes
// use it, and the expansion of $(VAR) references. It is pure, and beside pod the only thing that the packages share which
// put configuration into containers.
package downward
