package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func startMinikubelet(t *bench, _ options, e *testbed.Env, cp *testbed.ControlPlane) node {
	cd := e.Containerd(testbed.ContainerdConfig{})
	a := e.Agent(testbed.AgentConfig{Containerd: cd, ControlPlane: cp})
	return node{name: a.NodeName, pid: a.Process().Pid(), binary: testbed.AgentBinary(t), cd: cd, static: a.Manifests}
}

// startKubelet runs a kubelet with what differs on the test machine: cgroup v1, and no right to lower an oom_score_adj.
func startKubelet(t *bench, o options, e *testbed.Env, cp *testbed.ControlPlane) node {
	cd := e.Containerd(testbed.ContainerdConfig{})
	const name = "kubelet-node"
	static := e.Path("kubelet", "manifests")
	fields := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"containerRuntimeEndpoint": cd.Endpoint(), "podLogsDir": e.Path("kubelet", "logs"), "staticPodPath": static,
		"cgroupDriver": "cgroupfs", "cgroupRoot": e.CgroupRoot(), "enforceNodeAllocatable": []string{},
		"failSwapOn": false, "failCgroupV1": false, "port": e.Port(), "healthzPort": e.Port(),
		"authentication": map[string]any{"webhook": map[string]any{"enabled": false}, "anonymous": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},
	}
	args := []string{"--root-dir=" + e.Path("kubelet", "root"), "--hostname-override=" + name, "--node-ip=" + e.NodeIP(), "--cert-dir=" + e.Path("kubelet", "pki")}
	if cp != nil {
		args = append(args, "--kubeconfig="+cp.NodeKubeconfig(name))
	}
	config, err := yaml.Marshal(fields)
	if err == nil {
		err = errors.Join(os.MkdirAll(static, 0o750), makeCgroups(e.CgroupRoot()))
	}
	if err != nil {
		t.Fatalf("cannot set the kubelet up: %v", err)
	}
	p := e.Start("kubelet", exec.Command(o.kubelet, append(args, "--config="+e.WriteFile(string(config), "kubelet", "config.yaml"))...))
	return node{name: name, pid: p.Pid(), binary: o.kubelet, cd: cd, static: static, leaves: true}
}

// makeCgroups makes the cgroup root in every hierarchy: a kubelet insists that it is there.
func makeCgroups(root string) error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	for _, d := range dirs {
		err = errors.Join(err, os.MkdirAll(filepath.Join(filepath.Dir(d), root), 0o755))
	}
	return err
}
