// Package pod is the vocabulary of the agent: what a pod should be, what is observed of it, what is remembered of it
// and how its actions failed. It holds data and the few functions that read that data; it does no I/O, knows no clock
// and imports nothing of this module. Every other package speaks in these values.
package pod
