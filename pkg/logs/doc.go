// Package logs reads, rotates and links the log files that the container runtime writes in the CRI log format below
// /var/log/pods. Reading a
// log as it is is k8s.io/cri-client's; what is ours is following one across rotations, where that library loses what was
// written last before one, the rotation (size and number of files) and the links
// in /var/log/containers that log shippers follow. The package knows files and container IDs, not pods: which attempt
// of a container is meant ("previous") is its callers' choice, and it asks the runtime only through functions that it is
// given. The HTTPS and local API, the termination messages of pkg/cri and the agent's rotation loop call it.
package logs
