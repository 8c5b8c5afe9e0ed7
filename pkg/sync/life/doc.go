// Package life is the loop of a pod without its goroutine and its I/O: what an agent knows of a pod beyond what it can see,
// and what follows from that and a look at the node. It is pure: what it is told and what it answers are values, the time
// among them, so the convergence test drives it through thousands of lives in seconds.
//
// The loop (package loop) does what a turn asks for, in this order, and tells Life what came of it:
//
//	Outdated ── look ──▶ Looked ──▶ Turn ── save ──▶ Saved ── cancel, launch ──▶ Begin ... End
//
// Life forgets with the agent. What must outlive it is in the record, which a turn asks to be saved before its actions begin.
package life
