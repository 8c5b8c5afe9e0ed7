// Package yamldoc reads YAML and JSON strictly and knows the line of every field. It splits a file into documents, so
// that a broken one does not take its neighbours with it, checks a document against a Go type before it decodes it
// (unknown fields, duplicate keys, wrong kinds of values: all of them, not the first), and tells which fields were set.
// It never reads a file itself and knows no Kubernetes kinds. Configuration and pod sources call it.
//
// Plain scalars mean what they mean to kubectl, which reads YAML 1.1: yes, no, on and off are booleans, 0644 is octal.
package yamldoc
