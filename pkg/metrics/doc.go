// Package metrics tells monitoring what the node and its pods use: the kubelet's /stats/summary, and Prometheus text for
// /metrics/resource and /metrics/cadvisor, and how full claims are for /metrics, under the names that dashboards and the metrics
// server have always read. What the agent does is in package activity.
//
// Nothing is measured between requests. A request asks the runtime once (CRI ListPodSandboxStats) and reads the cgroups of
// the node, and those of pods where the runtime leaves something out; summary is a function of these readings. For
// /metrics/cadvisor it reads all of every cgroup, and writes the series as they come. Usage per second is the difference to
// the request before. The package decides nothing; the server calls it.
package metrics
