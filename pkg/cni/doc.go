// Package cni owns the pod networks of the node. The runtime calls CNI inside RunPodSandbox, so the agent enters there:
// it is installed as the runtime's CNI plugin (package cni/plugin writes it out, cmd/minikubelet-cni is it), and that
// plugin hands every ADD, DEL, CHECK, STATUS and GC over a unix socket to Node.Serve, which runs the real networks
// through libcni. When no agent listens, the plugin runs the same Node by itself, on the same journal: a pod can always
// be torn down, and started.
//
//	runtime -> minikubelet-cni -- socket --> Node.Serve -> Node.Do -> libcni -> bridge, host-local, portmap, ...
//	                       \-- no agent --------------> Node.Do -/
//
// Every attachment is journalled, with the configuration that is used, before it is made, and forgotten after its DEL
// succeeded. So a change of the files in the configuration directory never breaks a teardown, and what leaked (its
// sandbox is gone and nobody called DEL) is found and released by replaying DEL (Node.Release).
//
//	        journal        plugins            plugins      unlink
//	(none) --------> begun -------> attached --------> DEL -------> (none)
//	                   \_____ failed ADD ______________/ \_ failed: stays, and is tried again
//
// One container ID is worked on by one request at a time, also across processes: a file lock that the plugins inherit,
// so that it outlives an agent that is killed while its plugins still run. Different containers run in parallel.
//
// The networks are those of the runtime's configuration directory, the first valid file as the default network, or the
// agent's own bridge where there is none (package cni/plugin writes it); Config.Extra is where the further networks of a pod come in.
// Chained plugins that the runtime gives no work are not started (ondemand.go).
//
// The package never chooses which pods exist, never talks to the runtime, and knows neither the Kubernetes API nor gRPC:
// the plugin links it, and must start in about a millisecond. Callers: cmd/minikubelet, cmd/minikubelet-cni, cni/plugin.
package cni
