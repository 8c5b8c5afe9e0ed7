// Package cri is the agent's view of the container runtime: the CRI v1 API over one gRPC connection.
//
// It owns the connection, its deadlines, the mapping of gRPC codes to errors and the look at what answers lack (Client), the pure translation of a pod
// specification into CRI configurations (Sandbox, Container), the look at what the runtime has of a pod (Observer), the
// hints that something changed (Watcher) and the runtime's own readiness (Monitor). It decides nothing: it retries no
// call, pulls no image by itself and keeps nothing of a pod beyond a cache of what the runtime said about an ID in a
// state. Executors call the client, loops the observer; only protobuf messages of CRI and plain values cross its border.
package cri
