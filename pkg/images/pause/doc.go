// Package pause is the image of the pause program, which holds a sandbox's namespaces open: a few system calls in
// assembly, embedded as programs of about 400 bytes, so that a node needs no registry for its first sandbox. It packs
// the image under the name that the runtime wants; package images imports it.
package pause
