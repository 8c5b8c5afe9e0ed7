// Package check tells what a node lacks for pods that somebody thinks of running on it: room, images that are not pulled,
// objects and keys that nobody provides, paths of the host that are not there. It starts nothing and changes nothing. The
// local API asks it for minikubelet validate.
package check
