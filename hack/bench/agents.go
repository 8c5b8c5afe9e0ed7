package main

import "github.com/minikubelet/minikubelet/test/e2e/testbed"

func startMinikubelet(t *bench, _ options, e *testbed.Env, cp *testbed.ControlPlane) node {
	n := start(e, testbed.AgentConfig{ControlPlane: cp})
	n.binary = testbed.AgentBinary(t)
	return n
}

func startKubelet(_ *bench, o options, e *testbed.Env, cp *testbed.ControlPlane) node {
	n := start(e, testbed.AgentConfig{ControlPlane: cp, Program: o.kubelet, NodeName: "kubelet-node"})
	n.binary, n.leaves = o.kubelet, true
	return n
}

func start(e *testbed.Env, c testbed.AgentConfig) node {
	c.Containerd = e.Containerd(testbed.ContainerdConfig{})
	a := e.Agent(c)
	return node{name: a.NodeName, pid: a.Process().Pid(), cd: c.Containerd, static: a.Manifests}
}
