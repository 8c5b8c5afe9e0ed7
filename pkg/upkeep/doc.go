// Package upkeep is what a node needs now and then: the volumes of its pods brought up to date, what nobody names removed,
// a pulse that shows that the agent does its job. Nothing of it decides about a pod: it tells the set of loops. The command
// runs each part beside the others.
package upkeep
