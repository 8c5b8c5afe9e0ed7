// Command csidriver is a small real CSI driver for tests: every volume is an ext4 file system in a sparse file, mounted
// through a loop device. It serves the CSI identity, node and controller services on one socket and announces itself on
// another in the agent's plugin registration directory. csi-test's sanity suite holds it to the specification.
//
// A volume that is staged without having been created is created, so that a PersistentVolume in a file needs no
// provisioner. Inline ephemeral volumes live from publish to unpublish. Every call is one line on standard output. A
// file of failures (-failures) makes calls fail or wait, to show what the agent makes of it.
//
// It knows nothing of the agent. The tests' harness builds and starts it.
package main
