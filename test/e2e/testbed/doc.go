// Package testbed runs the agent against real components: containerd with runc and CNI plugins, etcd with an API server,
// scheduler and controllers, a registry, and the agent itself, each a subprocess with directories, sockets, ports,
// addresses, a bridge and cgroups of its own, so that tests meet neither each other nor what runs on the machine already.
// It never skips: a component that is missing fails the test with the command that builds it.
//
// Everything hangs off an Env:
//
//	e := testbed.New(t)
//	cd := e.Containerd(testbed.ContainerdConfig{})
//	cp := e.ControlPlane()
//	a := e.Agent(testbed.AgentConfig{Containerd: cd, ControlPlane: cp})
//
// For a cluster of several nodes, e.NodeEnv gives each an Env in a network namespace of its own, to call Containerd, Agent
// and KubeProxy on.
//
// An Env is a number N, held by a file lock. From it follow the directory /tmp/minikubelet-e2e/N, the bridge mktN, the
// cgroup /mktN, the pod network 10.241.N.0/24, the service network 10.242.N.0/24 and the ports from 20000+100*N. What a
// killed test leaves behind is found by its number, whose lock is free, and removed by the next New.
//
// The end-to-end tests call it, and the benchmarks, through the interface T.
package testbed
