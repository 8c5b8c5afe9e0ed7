// Package kube is the agent's way to an API server: one REST client that speaks protobuf with a scheme of the few API
// groups that a node needs, a list-and-watch loop (Follow), and the objects that this node's pods name (Objects). The
// typed clientset is left out on purpose: it registers every API group and costs about as much resident memory as the
// whole agent.
//
// The package never decides what a pod or a node should be. It is the only one that knows how requests are made, and
// callers give it the context, the key and the value. Users are the sources of pods, the node, the status writer, the
// event sink and, through the wiring, the volumes.
package kube
