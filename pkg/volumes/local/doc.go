// Package local mounts what the node has itself at a pod's place: memory, a directory, by a bind mount, or a block device, whose
// file system it makes when there is none. A device that several pods use is mounted for each of them: it stays one file
// system. The package knows nothing of pods. Package volumes, its only caller, undoes the mounts.
package local
