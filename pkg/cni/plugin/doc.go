// Package plugin makes the agent the node's CNI plugin and undoes it: it holds the plugin's binary, writes it into the
// runtime's CNI plugin directory and 00-minikubelet.conflist into the runtime's CNI configuration directory, and gives a
// node without any network a bridge of its own. It never attaches a pod (package cni does) and never touches another
// file of these directories. Caller: cmd/minikubelet.
package plugin
