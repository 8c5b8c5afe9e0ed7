// Package csi is the node's side of the Container Storage Interface (CSI spec 1.x): it learns of drivers by their sockets
// in plugins_registry, and mounts their volumes for pods.
//
// A volume is staged once per node and published once per pod. What is about to be asked of a driver is written to
// vol_data.json and fsynced before it is asked, in the kubelet's own places, so that an agent killed at any moment undoes
// what may have happened:
//
//	pods/<uid>/volumes/kubernetes.io~csi/<name>/{vol_data.json,mount}                     published to a pod
//	plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/{vol_data.json,globalmount} staged on the node
//
// Who uses a staged volume is read from those files and kept nowhere else: the last pod's Unmount unstages it, and a
// staged volume without a pod is unstaged when its driver registers. Every call has a deadline and holds back only the
// volume that it is about: a driver that hangs or vanishes hurts its own pods and no others.
//
// The package knows no pod specifications and never retries: package volumes calls it, and the plan decides when again.
package csi
