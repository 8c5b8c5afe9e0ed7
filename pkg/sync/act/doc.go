// Package act does the plan's actions, a file per kind: it turns one action and the input that it was planned from into
// calls to the runtime, the volumes, the cgroups and the images, and an error into its class. It decides nothing, retries
// nothing and remembers nothing: every action may run again, after any crash, and does then what is left of it. Only the
// pod loops call it.
package act
