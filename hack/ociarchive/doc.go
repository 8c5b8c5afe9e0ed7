// Package ociarchive packs files into container images: it writes OCI image layout archives, which containerd's `ctr
// images import` and the agent's preload directory read, and hands out the parts of an image for a push to a registry.
// An image has one layer, and the same input gives the same digest. The package never runs anything and never talks to a
// runtime. The tests' harness calls it, and through its command the demo.
package ociarchive
