// Package feed makes what the sources say the pods of this node: it takes up what the agent remembers, holds back what may
// not start before the API server was heard, merges each source's latest word and hands the set to the loops, the objects
// that pods name to their readers, and mirror pods to the writer. One goroutine does it all. It never decides whether a pod
// may run beside others: that is admission's. The command runs it.
package feed
