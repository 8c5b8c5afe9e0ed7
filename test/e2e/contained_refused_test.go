package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// refusedPods are not admitted: the reason and the message of their status.
var refusedPods = []struct{ name, spec, with, reason, message string }{
	{name: "cpu", with: "resources: {requests: {cpu: 1k}}", reason: "OutOfcpu", message: "Node didn't have enough resource: cpu, requested: 1000000, used: "},
	{name: "memory", with: "resources: {requests: {memory: 1Pi}}", reason: "OutOfmemory", message: "Node didn't have enough resource: memory, requested: 1125899906842624, used: "},
	{
		name: "disk", with: "resources: {requests: {ephemeral-storage: 1Ei}}", reason: "OutOfephemeral-storage",
		message: "Node didn't have enough resource: ephemeral-storage, requested: ",
	},
	{
		name: "selector", spec: "nodeSelector: {disk: fast}", reason: "NodeAffinity",
		message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
	},
	{name: "system", spec: "os: {name: windows}", reason: "PodOSNotSupported", message: "Failed to admit pod as the OS field doesn't match node OS"},
	{
		name: "sysctl", spec: "securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}", reason: "SysctlForbidden",
		message: `forbidden sysctl: "kernel.msgmax" not allowlisted`,
	},
	{
		name: "apparmor", with: "securityContext: {appArmorProfile: {type: RuntimeDefault}}", reason: "AppArmor",
		message: "Cannot enforce AppArmor: AppArmor is not enabled on the host",
	},
	{
		name: "zport", with: "ports: [{containerPort: 80, hostPort: $port}]", reason: "NodePorts",
		message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
	},
}

// hinderedPods are admitted and cannot start.
var hinderedPods = []struct{ name, spec, with, waiting, event, message string }{
	{
		name: "root", spec: "securityContext: {runAsNonRoot: true}", waiting: "CreateContainerConfigError", event: "Failed",
		message: "Error: cannot set up container c: container has runAsNonRoot and image will run as root",
	},
	{
		name: "rootgiven", with: "securityContext: {runAsNonRoot: true, runAsUser: 0}", waiting: "CreateContainerConfigError", event: "Failed",
		message: "Error: cannot set up container c: container's runAsUser breaks non-root policy",
	},
	{
		name: "noprofile", with: "securityContext: {seccompProfile: {type: Localhost, localhostProfile: none.json}}", waiting: "CreateContainerError", event: "Failed",
		message: "none.json",
	},
	{
		name: "longname", spec: "hostname: " + strings.Repeat("h", 40) + "\nsubdomain: sub\nsetHostnameAsFQDN: true", waiting: "ContainerCreating", event: "FailedCreatePodSandBox",
		message: "(64 characters is the max, 69 characters requested)",
	},
	{
		name: "noclass", spec: "runtimeClassName: none", waiting: "ContainerCreating", event: "FailedCreatePodSandBox",
		message: `RuntimeClass "none" not found: add a file with kind: RuntimeClass, name: none`,
	},
	{
		name: "nohandler", spec: "runtimeClassName: missing", waiting: "ContainerCreating", event: "FailedCreatePodSandBox", message: `no runtime for "absent"`,
	},
	{
		name: "handlerusers", spec: "runtimeClassName: missing\nhostUsers: false", waiting: "ContainerCreating", event: "FailedCreatePodSandBox",
		message: "RuntimeClass handler \"absent\" does not support user namespaces",
	},
	{
		name: "nofile", spec: "volumes: [{name: work, emptyDir: {}}]", with: "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: work, path: env, key: A}}}]",
		waiting: "CreateContainerConfigError", event: "Failed", message: "cannot set variable A of container c: cannot read file env of volume work",
	},
}

const missingHandler = `
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: missing}
handler: absent
`

// TestContained_Refuses gives a node what it has not: each pod says why, and harms no other.
func TestContained_Refuses(t *testing.T) {
	t.Parallel()
	s := containedNode(t)
	port := strconv.Itoa(s.env.Port())
	var bodies []string
	pod := func(name, spec, with string) {
		c := contained{name: name, spec: spec, with: strings.ReplaceAll(with, "$port", port), script: "sleep 3600"}
		bodies = append(bodies, c.pod())
	}
	pod("port", "", "ports: [{containerPort: 80, hostPort: $port}]")
	pod("classed", "runtimeClassName: other", "resources: {requests: {cpu: 100m}, limits: {memory: 16Mi}}")
	s.WriteManifest("first.yaml", pods(bodies...))
	s.event("classed", "FailedCreatePodSandBox", `Failed to create pod sandbox: RuntimeClass "other" not found`)
	s.WriteManifest("objects.yaml", containedObjects+missingHandler) // its overhead is the pod's all the same
	for _, name := range []string{"port", "classed"} {
		s.ready(name)
	}
	bodies = nil
	for _, c := range refusedPods {
		pod(c.name, c.spec, c.with)
	}
	for _, c := range hinderedPods {
		pod(c.name, c.spec, c.with)
	}
	s.WriteManifest("refused.yaml", pods(bodies...))
	for _, c := range refusedPods {
		t.Run(c.name, func(t *testing.T) {
			s := s.on(t)
			p := s.phase(c.name, v1.PodFailed)
			if p.Status.Reason != c.reason || !strings.HasPrefix(p.Status.Message, "Pod was rejected: "+c.message) {
				t.Errorf("it failed with %s: %s", p.Status.Reason, p.Status.Message)
			}
			s.event(c.name, c.reason, c.message)
		})
	}
	for _, c := range hinderedPods {
		t.Run(c.name, func(t *testing.T) {
			s := s.on(t)
			s.until(c.name, "waits with "+c.waiting, func(p *v1.Pod) error {
				if w := container(p, "c").State.Waiting; w == nil || w.Reason != c.waiting {
					return fmt.Errorf("it waits with %+v", w)
				}
				return nil
			})
			s.event(c.name, c.event, c.message)
		})
	}
	t.Run("overhead is part of the pod's limits", func(t *testing.T) {
		p := s.on(t).ready("classed")
		for file, want := range map[string]string{"memory/memory.limit_in_bytes": "33554432", "cpu/cpu.shares": "204", "pids/pids.max": "500"} {
			controller, name, _ := strings.Cut(file, "/")
			b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, s.env.CgroupRoot(), "kubepods/burstable/pod"+string(p.UID), name))
			if got := strings.TrimSpace(string(b)); err != nil || got != want {
				t.Errorf("%s is %q, %v; want %s", file, got, err, want)
			}
		}
	})
}
