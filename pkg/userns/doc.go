// Package userns gives pods that have users of their own (hostUsers: false, KEP-127) their ranges of the host's user and
// group IDs. It owns one small file in each such pod's directory, and derives everything else from those files: a range is
// taken as long as its file is there, so that it survives a restart of the agent, never overlaps another one, and is free
// again when the pod's directory goes, which is after its last process has ended. It maps nothing itself: the executors
// hand the ranges to the runtime. The files are as a kubelet writes them, so that a node can change its agent.
package userns
