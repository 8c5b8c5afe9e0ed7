// Package hostfs is the steps on the host's file system that a crash, a symbolic link or a foreign mount must not spoil:
// replacing a whole set of files atomically, giving a tree to a group, opening a path beneath a directory, and finding
// and undoing mounts below a directory. It knows nothing of pods or volumes. Packages csi and volumes call it; it calls
// hosttree, which walks trees of files. It needs Linux 5.6 or newer (openat2).
package hostfs
