// Package cgroups owns the control groups above the containers: the node's kubepods, one for each quality of service,
// and one for each pod, on cgroup v2 and on v1 (also hybrid), through the cgroup file system or through systemd. It never
// places a process: the runtime does, below the path that Parent gives it, and it kills nothing. The executors of a pod's
// cgroup actions call it, and the agent at its start.
//
//	cgroupfs                                systemd
//	/kubepods                               kubepods.slice
//	/kubepods/burstable                     kubepods.slice/kubepods-burstable.slice
//	/kubepods/burstable/pod<uid>            .../kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice
//
// On v1 only the cpu, memory, pids and hugetlb hierarchies get limits and directories of ours; the runtime makes the others as it
// needs them, and they are removed here in every hierarchy. A limit that the kernel refuses for want of permission, and a
// controller that the node lacks, is a warning: the pod runs without that limit, as on a node inside a container.
package cgroups
