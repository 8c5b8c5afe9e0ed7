package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// contained is a pod whose container tells from inside what it was given.
type contained struct {
	name   string
	spec   string // more fields of the pod, each on a line of its own
	with   string // more fields of the container
	script string
	want   string // its whole log; {ip} is the pod's address, {ns X} the host's namespace X, {node} the node
}

// containedObjects are what the pods name.
const containedObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {ONE: "1", TWO: "2", hosts: "10.9.9.9 own\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {WORD: "pass word"}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: other}
handler: runc
overhead: {podFixed: {cpu: 100m, memory: 16Mi}}
`

var containedEnv = []contained{
	{
		name: "env",
		with: `
workingDir: /tmp
envFrom: [{prefix: T_C_, configMapRef: {name: conf}}, {prefix: T_S_, secretRef: {name: hidden}}, {configMapRef: {name: none, optional: true}}]
resources: {requests: {cpu: 250m}, limits: {memory: 64Mi}}
env:
- {name: T_A, value: a}
- {name: T_B, value: "$(T_A)-$(T_C_ONE)-$$(T_A)-$(NONE)"}
- {name: T_CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
- {name: T_MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
- {name: T_NAME, valueFrom: {fieldRef: {fieldPath: "metadata.name"}}}
- {name: T_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: T_NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: T_TWO, valueFrom: {configMapKeyRef: {name: conf, key: TWO}}}
- {name: T_WORD, valueFrom: {secretKeyRef: {name: hidden, key: WORD}}}
- {name: T_X, valueFrom: {secretKeyRef: {name: hidden, key: X, optional: true}}}`,
		script: `pwd; env | grep ^T_ | sort; echo '$(T_A) $$(T_A)'`,
		want: "/tmp\nT_A=a\nT_B=a-1-$(T_A)-$(NONE)\nT_CPU=250\nT_C_ONE=1\nT_C_TWO=2\nT_C_hosts=10.9.9.9 own\nT_IP={ip}\nT_MEM=64\nT_NAME=env-{node}\n" +
			"T_NODE={node}\nT_S_WORD=pass word\nT_TWO=2\nT_WORD=pass word\na $(T_A)\n",
	},
	{
		name: "envfile",
		spec: `
volumes: [{name: work, emptyDir: {}}]
initContainers: [{name: init, image: $busybox, command: [sh, -c, "printf \"# made\\nA='one\\ntwo' # more\\n\" >/work/env"], volumeMounts: [{name: work, mountPath: /work}]}]`,
		with: `
env:
- {name: T_A, valueFrom: {fileKeyRef: {volumeName: work, path: env, key: A}}}
- {name: T_B, valueFrom: {fileKeyRef: {volumeName: work, path: env, key: B, optional: true}}}`,
		script: `echo "$T_A"; env | grep -c ^T_B`,
		want:   "one\ntwo\n0\n",
	},
	{name: "terminal", with: "tty: true\nstdin: true\nstdinOnce: true", script: `test -t 1 && test -t 0 && echo terminal`, want: "terminal\n"},
}

const hostsHead = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"

var containedNames = []contained{
	{
		name: "names", spec: "hostname: h\nsubdomain: sub\nhostAliases: [{ip: 10.9.0.1, hostnames: [a.example, b.example]}]", script: "hostname; cat /etc/hosts",
		want: "h\n" + hostsHead + "{ip}\th.sub.default.svc.cluster.test\th\n\n# Entries added by HostAliases.\n10.9.0.1\ta.example\tb.example\n",
	},
	{
		name: "fqdn", spec: "hostname: h\nsubdomain: sub\nsetHostnameAsFQDN: true", script: "hostname; tail -n1 /etc/hosts",
		want: "h.sub.default.svc.cluster.test\n{ip}\th.sub.default.svc.cluster.test\th\n",
	},
	{
		name: "override", spec: "hostname: h\nsubdomain: sub\nhostnameOverride: whole.example", script: "hostname; tail -n1 /etc/hosts",
		want: "whole.example\n{ip}\twhole.example\n",
	},
	{
		name: "ownhosts", spec: "volumes: [{name: conf, configMap: {name: conf}}]", with: "volumeMounts: [{name: conf, mountPath: /etc/hosts, subPath: hosts}]",
		script: "cat /etc/hosts", want: "10.9.9.9 own\n",
	},
	{
		name: "dnscluster", spec: "dnsConfig: {searches: [more.example], options: [{name: ndots, value: '2'}, {name: edns0}]}", script: "cat /etc/resolv.conf",
		want: "search default.svc.cluster.test svc.cluster.test cluster.test node.example more.example\nnameserver 10.96.0.10\noptions ndots:2 edns0\n",
	},
	{name: "dnsdefault", spec: "dnsPolicy: Default", script: "cat /etc/resolv.conf", want: "search node.example\nnameserver 10.9.0.53\noptions rotate\n"},
	{
		name: "dnsnone", spec: "dnsPolicy: None\ndnsConfig: {nameservers: [10.9.0.1, 10.9.0.2, 10.9.0.3]}", script: "cat /etc/resolv.conf",
		want: "nameserver 10.9.0.1\nnameserver 10.9.0.2\nnameserver 10.9.0.3\n",
	},
	{
		name: "dnshost", spec: "hostNetwork: true\ndnsPolicy: ClusterFirstWithHostNet", script: "grep nameserver /etc/resolv.conf; head -n1 /etc/hosts; readlink /proc/self/ns/net",
		want: "nameserver 10.96.0.10\n# Kubernetes-managed hosts file (host network).\n{ns net}\n",
	},
	{name: "dnshostfirst", spec: "hostNetwork: true", script: "grep nameserver /etc/resolv.conf", want: "nameserver 10.9.0.53\n"},
	{name: "hostns", spec: "hostPID: true\nhostIPC: true", script: "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc", want: "{ns pid}\n{ns ipc}\n"},
}

var containedSecurity = []contained{
	{
		name: "defaults", script: "id -u; id -g; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; cat /proc/self/oom_score_adj; touch /new && echo writable; test -s /proc/keys || echo masked; echo 1 2>/dev/null >/proc/sysrq-trigger || echo read-only",
		want: "0\n0\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t0\n1000\nwritable\nmasked\nread-only\n",
	},
	{
		name: "users", spec: "securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000], supplementalGroupsPolicy: Strict}\nvolumes: [{name: work, emptyDir: {}}]",
		with:   "securityContext: {runAsUser: 1001, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true}\nvolumeMounts: [{name: work, mountPath: /work}]",
		script: "id -u; id -g; id -G; touch /work/f && stat -c '%u %g' /work/f; grep -E '^(CapEff|NoNewPrivs):' /proc/self/status; touch /new 2>/dev/null || echo read-only",
		want:   "1001\n2000\n2000 3000 4000\n1001 3000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nread-only\n",
	},
	{
		name: "capabilities", with: "securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN, CHOWN]}}",
		script: "grep CapEff /proc/self/status", want: "CapEff:\t0000000000001001\n",
	},
	{name: "privileged", with: "securityContext: {privileged: true}", script: "mount -t tmpfs none /tmp && echo mounts; test -b /dev/loop0 && echo devices", want: "mounts\ndevices\n"},
	{name: "seccomp", spec: "securityContext: {seccompProfile: {type: RuntimeDefault}}", script: "grep Seccomp: /proc/self/status", want: "Seccomp:\t2\n"},
	{
		name: "seccompown", with: "securityContext: {seccompProfile: {type: Localhost, localhostProfile: profiles/nodir.json}}",
		script: "mkdir /new 2>/dev/null || echo refused", want: "refused\n",
	},
	{
		name: "sysctls", spec: "securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '80'}, {name: net/core/somaxconn, value: '77'}, {name: kernel.shm_rmid_forced, value: '1'}]}",
		script: "cd /proc/sys; cat net/ipv4/ip_unprivileged_port_start net/core/somaxconn kernel/shm_rmid_forced", want: "80\n77\n1\n",
	},
	{
		name: "ownusers", spec: "hostUsers: false\nsecurityContext: {fsGroup: 3000}\nvolumes: [{name: work, emptyDir: {}}, {name: conf, configMap: {name: conf}}]",
		with:   "volumeMounts: [{name: work, mountPath: /work}, {name: conf, mountPath: /conf}]\nsecurityContext: {procMount: Unmasked}",
		script: "id -u; awk '{print $1, ($2 >= 65536), $3}' /proc/self/uid_map /proc/self/gid_map; touch /work/f && stat -c '%u %g' /work/f; stat -Lc '%u %g' /conf/ONE /etc/hosts; echo bye >/dev/termination-log; grep -c ' /proc/' /proc/self/mountinfo",
		want:   "0\n0 1 65536\n0 1 65536\n0 3000\n0 3000\n0 0\n0\n",
	},
	{
		name: "resources", with: "resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}",
		script: "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory/memory.limit_in_bytes; test $(cat /proc/self/oom_score_adj) -gt 900 && echo burstable",
		want:   "256\n25000\n50000\n67108864\nburstable\n",
	},
}

// TestContained reads from inside of containers what they were given.
func TestContained(t *testing.T) {
	t.Parallel()
	s := containedNode(t)
	all := append(append(append([]contained{}, containedEnv...), containedNames...), containedSecurity...)
	var bodies []string
	for _, c := range all {
		bodies = append(bodies, c.pod())
	}
	s.WriteManifest("objects.yaml", containedObjects)
	s.WriteManifest("contained.yaml", pods(bodies...))
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			s := s.on(t)
			p := s.until(c.name, "has ended", func(p *v1.Pod) error {
				if p.Status.Phase != v1.PodSucceeded && p.Status.Phase != v1.PodFailed {
					return fmt.Errorf("it is %s", p.Status.Phase)
				}
				return nil
			})
			if diff := cmp.Diff(c.expect(t, s, p), s.logs(c.name, "c")); diff != "" {
				t.Errorf("%s %s, inside (-want +got):\n%s", p.Status.Phase, p.Status.Message, diff)
			}
		})
	}
}

// containedNode is a node whose name service and limits are known.
func containedNode(t *testing.T) *standalone {
	t.Helper()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{NotYet: true, Kubelet: map[string]any{
		"clusterDNS": []string{"10.96.0.10"}, "clusterDomain": "cluster.test", "allowedUnsafeSysctls": []string{"net.core.*"},
		"cpuCFSQuotaPeriod": "50ms", "podPidsLimit": 500,
	}})
	resolv := s.env.Path("resolv.conf")
	profile := filepath.Join(s.RootDir, "seccomp", "profiles", "nodir.json")
	for path, content := range map[string]string{
		resolv:  "search node.example\nnameserver 10.9.0.53\noptions rotate\n",
		profile: `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}`,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.AddArgs("--resolv-conf=" + resolv)
	s.Start()
	return s
}

func (c contained) pod() string {
	var b strings.Builder
	fmt.Fprintf(&b, "metadata: {name: %s}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n", c.name)
	indent := func(fields, by string) {
		for line := range strings.Lines(strings.TrimSpace(fields)) {
			b.WriteString(by + strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	indent(c.spec, "  ")
	fmt.Fprintf(&b, "  containers:\n  - name: c\n    image: $busybox\n    command: [sh, -c, %q]\n", c.script)
	indent(c.with, "    ")
	return b.String()
}

// expect is the log with the facts of this node.
func (c contained) expect(t *testing.T, s *standalone, p *v1.Pod) string {
	t.Helper()
	replace := []string{"{ip}", p.Status.PodIP, "{node}", s.NodeName}
	for _, ns := range []string{"net", "pid", "ipc"} {
		id, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		replace = append(replace, "{ns "+ns+"}", id)
	}
	return strings.NewReplacer(replace...).Replace(c.want)
}
