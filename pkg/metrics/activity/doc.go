// Package activity counts what the agent does, for /metrics and /metrics/probes, under a kubelet's names, labels and buckets. It
// counts what it is told and what a pod's status says when it is asked; it measures nothing and decides nothing. A name of a
// kubelet's whose meaning has no counterpart here is not there.
package activity
