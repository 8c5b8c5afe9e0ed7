// Package loop runs one goroutine per pod. Each pass collects one plan.Input, asks the plan what is next, persists what
// must not be forgotten, starts the decision's actions beside itself and sleeps until a result, a poke or the decision's
// WakeAt:
//
//	poke ──────┐
//	result ────┤      ┌─ look ─ plan ─ persist ─ launch ─ report ─┐
//	WakeAt ────┴────▶ └───────────────────────◀───────────────────┘ ──▶ Done: forget the record, tell the reporter
//
// The loop never blocks on an action, decides nothing of a pod's life itself and is the only writer of the pod's record.
// The runtime is read again only when something of the runtime may have changed: a poke from it, or the end of an action
// that touched it. Set holds the loops; which pods have one is decided by reconcile, a pure function of what is wanted, what has
// a loop and what has ended. Limit bounds how many pods are brought up at once.
//
// Two things differ from the outline of the design. Network attachments and volume intents are journalled by the adapters
// that make them, beside what they describe, because the CNI plugin must release a network also while the agent is down;
// and the record keeps the last reported status, so that no readiness and no count changes when the agent is restarted.
package loop
