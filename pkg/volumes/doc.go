// Package volumes sets up and tears down the volumes of a pod: a file per kind of volume, and a ledger of what was set up.
//
// What is on the node for a pod is written down in pods/<uid>/volumes.json before it is made, so that it can be undone
// with no specification at hand and by an agent that was started since. Paths are the kubelet's:
// pods/<uid>/volumes/kubernetes.io~<kind>/<name>, and CSI keeps its own vol_data.json there (package csi). A ledger
// that cannot be read is rebuilt from the directories.
//
//	(nothing) --Mount--> begun --> ready --Unmount--> ending --> (nothing)
//
// Only ready is reported as such; the others are set up again or torn down by the next action. Content of a person's is
// never removed: trees are removed without following a link or crossing a mount.
//
// The package decides nothing: when to mount is package plan's to say. Executors in package act call it; status and
// eviction read what it observes.
package volumes
