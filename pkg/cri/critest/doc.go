// Package critest is the contract that the agent rests on when it speaks to a container runtime, as tests that run
// against any runtime: what a call does, what it answers for what is gone, and what can be seen of a pod afterwards.
// The end-to-end tests run it on each version of containerd. It holds no expectations of one runtime alone.
package critest
