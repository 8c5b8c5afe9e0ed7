// Package config reads what the agent is told: the kubelet's flags, a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)
// and, as a second document of the same file, a MinikubeletConfiguration (minikubelet.dev/v1alpha1). The file, its drop-ins
// and the flags are layers of documents that are laid over each other (load.go), under them the kubelet's defaults; it knows
// where each value came from (show.go). It reads strictly and reports every problem at once with the line or the flag, the
// field and the remedy. A field that is set and that this agent does not act on is an error that names it (fields.go).
//
// It is pure but for the functions that it is given to read files, and looks nothing up on the machine. The wiring calls it
// at the start and at SIGHUP, and hands the groups of Config to the packages that they are for.
package config
