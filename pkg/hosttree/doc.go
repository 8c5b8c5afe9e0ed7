// Package hosttree walks and removes trees of files that pods write. A pod can nest directories without end, put millions of
// files into one and change names all the while; so a walk has a bounded number of descriptors and bounded memory whatever
// it meets, tells no more than a few errors of bounded length, and ends soon after its context. It reads directories in
// small pieces, names everything relative to an open directory, follows no symbolic link and enters no mount.
//
//	Walk     goes down depth first and remembers 24 bytes a level; only the innermost levels stay open. It goes up by ".."
//	         and makes sure that this is where it came from; if not, it looks for its way from the root again.
//	Remove   goes down removeLevels deep and moves what is deeper up to the top of the tree: it remembers nothing.
//
// It knows nothing of pods or volumes. Packages csi, volumes, stats and logs call it; it calls nobody. It needs Linux 5.6 or
// newer (openat2).
package hosttree
