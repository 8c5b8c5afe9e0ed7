// Package probes asks running containers how they are: it owns the liveness, readiness and startup probes of every
// container of the node, and the verdicts that they have reached. It never acts on a verdict: a verdict that changes
// pokes the pod's loop, which reads it with Set.Verdicts and plans.
//
// The pod's loop calls Set.Sync after every pass with the containers that run. Each probe of a container is one
// goroutine that lives as long as there is something to find out:
//
//	        +- startup ---- Success -> gate opens, worker ends
//	        |               Failed  -> verdict stands, worker ends (the container will be restarted)
//	start --+
//	        +- liveness  -- waits for the gate, then probes until Failed
//	        +- readiness -- waits for the gate, then probes until the container is gone
//
// A container without a startup probe has its gate open from the start. All checks but a container's first begin at the same
// tenths of a second, so that fifty probes a second are cheap.
//
// What a server receives, which answers pass and what events say of those that do not are a kubelet's. An answer that breaks
// off before its end, or does not end in time, counts neither for nor against the container, as there.
package probes
