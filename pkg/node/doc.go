// Package node makes this machine a Node: it reads what the machine is (Machine), computes the node's status from that and
// from what others observe (Status, pure), registers the Node at the API server, keeps its status, its lease and its
// CSINode up to date, and follows what the API server says of the Node (labels, taints, pod CIDR).
//
// It never looks at pods and decides nothing about them. Pressures, images, volumes and the runtime's state are inputs
// that the wiring gives as one function. Standalone, without a client, it computes the same Node for the local API and
// writes nothing.
package node
