// Package plan decides what to do next to one pod. Next is a pure function of everything that is known: it knows no clock,
// does no I/O and keeps nothing between calls. It owns the order of a pod's life, of setup and of teardown; sequence is not
// coded anywhere, it emerges because each call plans only what is possible now:
//
//	cgroup ─┬─ volumes ────────────────┐
//	        ├─ images of what is due ──┼─ init containers, sidecars ── main containers, ephemeral ones
//	        └─ sandbox (network) ──────┘                                      │ all ended, or a stop order
//	                                                                          v
//	directory ── cgroup ─┬─ sandbox removed ── containers removed ──┬─ verdict recorded ── sidecars stopped ── others stopped
//	(removed)            └─ volumes unmounted, network released ────┘
//
// One exit code may send a pod back to its first init container (reset.go): all but ephemeral containers are then killed and
// removed, and what they stand on stays.
//
// Two rules keep it safe. What destroys evidence comes after the fact is in the record: a verdict is written once and
// before teardown, an attempt is counted before it is made, a hook is noted before it runs. And every failure leaves
// either something in flight or a time to wake at: nothing is ever given up.
//
// The loop of a pod (package loop) calls it after every change and hands the actions to their executors (package act).
package plan
