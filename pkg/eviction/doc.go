// Package eviction keeps the node from running out of memory, disk and process IDs: it compares what the node has left
// with the configured thresholds, reports the pressure, frees what can be freed without harm and then chooses a pod that
// must go; and it ends pods that outgrow their own local storage limits. It stops nothing itself: it orders the stop, and
// the pod's loop carries it out. The agent runs it; conditions of the node and admission read Pressure.
//
//	observe -> thresholds met? -> conditions (held for the transition period)
//	             | grace period over
//	             v
//	           reclaim images and dead containers -> observe again -> still met? -> rank pods -> order one to stop
//
// Memory and processes are looked at and relieved first and without a wait. What is about the disk takes its time, for it
// walks what pods have written and removes images: it goes on beside, one look after another.
//
// threshold.go, decide.go and rank.go are pure; run.go drives them.
package eviction
