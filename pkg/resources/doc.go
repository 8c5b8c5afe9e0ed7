// Package resources decides what fits on the node. It owns the arithmetic of requests and limits (quality of service,
// sums over a pod, the cgroup values that follow from them), the admission of pods and the ledger of what was admitted.
// Everything but the ledger is pure; nothing here touches a cgroup or the API. The set of pods asks the ledger once for
// each pod, before its loop exists; cgroups, cri, status and eviction use the arithmetic.
package resources
