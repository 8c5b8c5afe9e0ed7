// Package events records what happened to pods and to the node, for people. Each event goes to a bounded store that the
// local API reads, to the log, and, when there is an API server, to it as a v1.Event of component kubelet. Repetitions of
// one event are counted instead of stored; writes upstream are rate limited and never hold anything back: an event that
// finds no room is dropped there and stays in the store.
//
// It decides nothing and nothing may be decided from it. Executors, loops, probes and eviction call it.
package events
