// Package record keeps the durable memory of each pod: one JSON file per pod, named by its UID. It knows nothing of
// what a record means. The pod's loop is the only writer of its file; start-up reads them all.
//
// A file is fsynced, with its directory, only when the caller says that a power cut must not lose it: a rename is enough
// against the death of the agent. A garbled file is set aside (see package book), and its pod is taken up from what can
// be observed.
package record
