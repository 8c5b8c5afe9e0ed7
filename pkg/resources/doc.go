// Package resources decides what fits on the node. It owns the arithmetic of requests and limits (quality of service,
// sums over a pod, the cgroup values that follow from them) and the admission of pods. It is pure: nothing here touches a
// cgroup or the API. The set of pods asks it once for each pod, before its loop exists, and again when a pod's resources
// change; cgroups, cri, status and eviction use the arithmetic.
package resources
