// Package sources says what this node should run. A source (a directory of manifests, a URL, an API server) gives all that
// it holds whenever that changes; Merge, which is pure, forms one set from the latest of each and Since tells what changed.
// It never decides whether a pod may run, never starts or stops anything, and loses nothing because a file is broken or a
// server is away: what a source said last stays in force. The wiring runs the sources and hands the sets to the loops.
package sources
