// Package cli is the commands of the person at the node: get, describe, logs, exec, attach, validate and version. They ask
// the running agent over its local socket and know nothing of its insides; what they print for machines (-o json, yaml,
// name) is Kubernetes' own. They never change anything on the node. The root command of cmd/minikubelet has them.
package cli
