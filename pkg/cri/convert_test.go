package cri

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

func testPod(change func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "shop", UID: "u1",
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"},
		},
		Spec: v1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(30)),
			Containers: []v1.Container{{
				Name: "main", Image: "web:1", WorkingDir: "/srv",
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile,
			}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

// noUserns says that the users are the node's.
var noUserns = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}

func TestSandbox_DescribesPlainPod(t *testing.T) {
	got, err := Sandbox(SandboxInput{
		Pod: testPod(nil), Attempt: 2, LogRoot: "/var/log/pods", Hostname: "web",
		DNS: DNS{Servers: []string{"192.0.2.1"}, Searches: []string{"svc"}, Options: []string{"ndots:5"}}, CgroupParent: "/kubepods/besteffort/podu1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "shop", Uid: "u1", Attempt: 2},
		Hostname:     "web",
		LogDirectory: "/var/log/pods/shop_web_u1",
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"192.0.2.1"}, Searches: []string{"svc"}, Options: []string{"ndots:5"}},
		Labels: map[string]string{
			"app": "web", "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u1",
		},
		Annotations: map[string]string{"a": "b"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: "/kubepods/besteffort/podu1",
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: noUserns},
				Seccomp:          &runtimeapi.SecurityProfile{},
			},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("Sandbox() (-want +got):\n%s", diff)
	}
}

func TestSandbox_FollowsSpec(t *testing.T) {
	tests := map[string]struct {
		pod   func(*v1.Pod)
		in    SandboxInput
		check func(*runtimeapi.PodSandboxConfig) (got, want any)
	}{
		"host network has no host name": {
			pod: func(p *v1.Pod) { p.Spec.HostNetwork = true },
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				return []any{c.Hostname, c.Linux.SecurityContext.NamespaceOptions.Network}, []any{"", runtimeapi.NamespaceMode_NODE}
			},
		},
		"all ports of main containers are told, and published ones of sidecars": {
			pod: func(p *v1.Pod) {
				always := v1.ContainerRestartPolicyAlways
				p.Spec.Containers[0].Ports = []v1.ContainerPort{
					{Name: "a", ContainerPort: 80}, {Name: "b", ContainerPort: 80}, {ContainerPort: 53, HostPort: 5353, HostIP: "127.0.0.1", Protocol: v1.ProtocolUDP},
				}
				p.Spec.InitContainers = []v1.Container{
					{Name: "i", Ports: []v1.ContainerPort{{ContainerPort: 1, HostPort: 1}}},
					{Name: "s", Ports: []v1.ContainerPort{{ContainerPort: 2, HostPort: 2}, {ContainerPort: 3}}, RestartPolicy: &always},
				}
			},
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				return c.PortMappings, []*runtimeapi.PortMapping{
					{ContainerPort: 2, HostPort: 2}, {ContainerPort: 80},
					{Protocol: runtimeapi.Protocol_UDP, ContainerPort: 53, HostPort: 5353, HostIp: "127.0.0.1"},
				}
			},
		},
		"sysctls get dotted names": {
			pod: func(p *v1.Pod) {
				p.Spec.SecurityContext = &v1.PodSecurityContext{Sysctls: []v1.Sysctl{
					{Name: "net.ipv4.ip_local_port_range", Value: "1 2"}, {Name: "net/ipv4/conf/eth0.1/forwarding", Value: "1"},
				}}
			},
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				return c.Linux.Sysctls, map[string]string{"net.ipv4.ip_local_port_range": "1 2", "net.ipv4.conf.eth0/1.forwarding": "1"}
			},
		},
		"group without user is left out, which CRI refuses": {
			pod: func(p *v1.Pod) { p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsGroup: new(int64(7))} },
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				return c.Linux.SecurityContext.RunAsGroup == nil, true
			},
		},
		"privileged init container needs a privileged sandbox": {
			pod: func(p *v1.Pod) {
				p.Spec.InitContainers = []v1.Container{{Name: "i", SecurityContext: &v1.SecurityContext{Privileged: new(true)}}}
			},
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) { return c.Linux.SecurityContext.Privileged, true },
		},
		"privileged ephemeral container of a sandbox that is made anew": {
			pod: func(p *v1.Pod) {
				debug := v1.EphemeralContainerCommon{Name: "d", SecurityContext: &v1.SecurityContext{Privileged: new(true)}}
				p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: debug}}
			},
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) { return c.Linux.SecurityContext.Privileged, true },
		},
		"shared process namespace": {
			pod: func(p *v1.Pod) { p.Spec.ShareProcessNamespace = new(true) },
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				return c.Linux.SecurityContext.NamespaceOptions.Pid, runtimeapi.NamespaceMode_POD
			},
		},
		"user namespace": {
			in: SandboxInput{UserNamespace: &UserNamespace{UIDs: []IDMapping{{65536, 0, 65536}}, GIDs: []IDMapping{{65536, 0, 65536}}}},
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				m := []*runtimeapi.IDMapping{{HostId: 65536, Length: 65536}}
				return c.Linux.SecurityContext.NamespaceOptions.UsernsOptions, &runtimeapi.UserNamespace{Uids: m, Gids: m}
			},
		},
		"overhead": {
			in: SandboxInput{Overhead: &Resources{MemoryLimit: 5}},
			check: func(c *runtimeapi.PodSandboxConfig) (any, any) {
				return c.Linux.Overhead, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 5}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := tt.in
			in.Pod, in.Hostname = testPod(tt.pod), "web"
			c, err := Sandbox(in)
			if err != nil {
				t.Fatal(err)
			}
			got, want := tt.check(c)
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestContainer_DescribesContainer(t *testing.T) {
	p := testPod(func(p *v1.Pod) {
		p.Spec.SecurityContext = &v1.PodSecurityContext{
			RunAsUser: new(int64(1000)), FSGroup: new(int64(2000)), SupplementalGroups: []int64{3000},
			SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault},
		}
		p.Annotations = map[string]string{"note": "it"}
		c := &p.Spec.Containers[0]
		c.Stdin, c.TTY = true, true
		c.Lifecycle = &v1.Lifecycle{
			StopSignal: new(v1.Signal("SIGRTMIN+3")), PreStop: &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"/bye", "<now>"}}},
		}
		c.Ports = []v1.ContainerPort{{Name: "http", ContainerPort: 8080, HostPort: 80, Protocol: v1.ProtocolTCP}, {ContainerPort: 53, Protocol: v1.ProtocolUDP}}
		c.SecurityContext = &v1.SecurityContext{
			RunAsUser: new(int64(1001)), RunAsGroup: new(int64(1002)), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
			Capabilities:    &v1.Capabilities{Add: []v1.Capability{"NET_ADMIN"}, Drop: []v1.Capability{"ALL"}},
			AppArmorProfile: &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: new("mine")},
			SELinuxOptions:  &v1.SELinuxOptions{Level: "s0"},
		}
		c.Resources = v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m"), v1.ResourceMemory: resource.MustParse("1Gi")},
			Limits: v1.ResourceList{
				v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("2Gi"), "hugepages-2Mi": resource.MustParse("4Mi"),
			},
		}
	})
	got, err := Container(ContainerInput{
		Pod: p, Container: &p.Spec.Containers[0], QOS: v1.PodQOSBurstable, Attempt: 3, Image: pod.Image{Ref: "web:1", ID: "sha256:1"},
		Command: []string{"/web"}, Args: []string{"-v"}, Env: []Env{{"A", "1"}}, ExtraGroups: []int64{4000},
		Mounts: []Mount{
			{HostPath: "/h", ContainerPath: "/c", ReadOnly: true, RecursiveRO: true, Propagation: v1.MountPropagationHostToContainer},
			{Image: "sha256:2", ImageReference: "data:1", ContainerPath: "h/..//i", ImageSubPath: "d", ReadOnly: true},
		},
		Devices: []Device{{"/dev/h", "/dev/c", "rw"}}, CDIDevices: []string{"v/d=1"},
		Node: Node{
			Capacity: resources.Capacity{Memory: 4 << 30, HugePages: map[string]int64{"2Mi": 0, "1Gi": 0}},
			CFS:      resources.CFS{Quota: true}, CgroupV2: true, LimitsSwap: true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main", Attempt: 3},
		Image:    &runtimeapi.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "web:1"},
		Command:  []string{"/web"}, Args: []string{"-v"}, WorkingDir: "/srv",
		Envs: []*runtimeapi.KeyValue{{Key: "A", Value: []byte("1")}},
		Mounts: []*runtimeapi.Mount{
			{HostPath: "/h", ContainerPath: "/c", Readonly: true, RecursiveReadOnly: true, Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
			{ContainerPath: "/i", Readonly: true, Image: &runtimeapi.ImageSpec{Image: "sha256:2", UserSpecifiedImage: "data:1", Annotations: map[string]string{"note": "it"}}, ImageSubPath: "d"},
		},
		Devices:    []*runtimeapi.Device{{HostPath: "/dev/h", ContainerPath: "/dev/c", Permissions: "rw"}},
		CDIDevices: []*runtimeapi.CDIDevice{{Name: "v/d=1"}},
		Labels: map[string]string{
			"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u1", "io.kubernetes.container.name": "main",
		},
		Annotations: map[string]string{
			"io.kubernetes.container.hash":                     pod.ContainerHash(&p.Spec.Containers[0]),
			"io.kubernetes.container.restartCount":             "3",
			"io.kubernetes.container.terminationMessagePath":   "/dev/termination-log",
			"io.kubernetes.container.terminationMessagePolicy": "File",
			"io.kubernetes.pod.terminationGracePeriod":         "30",
			"io.kubernetes.container.preStopHandler":           `{"exec":{"command":["/bye","\u003cnow\u003e"]}}`,
			"io.kubernetes.container.ports": `[{"name":"http","hostPort":80,"containerPort":8080,"protocol":"TCP"},` +
				`{"containerPort":53,"protocol":"UDP"}]`,
		},
		LogPath: "main/3.log", Stdin: true, Tty: true, StopSignal: runtimeapi.Signal_SIGRTMINPLUS3,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources: &runtimeapi.LinuxContainerResources{
				CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 256, MemoryLimitInBytes: 2 << 30, OomScoreAdj: 750,
				HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "1GB"}, {PageSize: "2MB", Limit: 4 << 20}},
				Unified:        map[string]string{"memory.oom.group": "1", "memory.swap.max": "0"},
			},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				Capabilities:     &runtimeapi.Capability{AddCapabilities: []string{"NET_ADMIN"}, DropCapabilities: []string{"ALL"}},
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: noUserns},
				SelinuxOptions:   &runtimeapi.SELinuxOption{Level: "s0"},
				RunAsUser:        &runtimeapi.Int64Value{Value: 1001}, RunAsGroup: &runtimeapi.Int64Value{Value: 1002},
				ReadonlyRootfs: true, NoNewPrivs: true, SupplementalGroups: []int64{2000, 3000, 4000},
				MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths,
				Seccomp:  &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
				Apparmor: &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "mine"},
				//lint:ignore SA1019 older runtimes know this field alone
				ApparmorProfile: "localhost/mine",
			},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("Container() (-want +got):\n%s", diff)
	}
}

func TestContainer_RefusesBadSpec(t *testing.T) {
	tests := map[string]struct {
		spec func(*v1.Container)
		in   ContainerInput
		want string
	}{
		"root under runAsNonRoot": {
			spec: func(c *v1.Container) {
				c.SecurityContext = &v1.SecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(0))}
			},
			want: "runAsUser breaks non-root policy",
		},
		"root image under runAsNonRoot": {
			spec: func(c *v1.Container) { c.SecurityContext = &v1.SecurityContext{RunAsNonRoot: new(true)} },
			want: "image will run as root",
		},
		"named user under runAsNonRoot": {
			spec: func(c *v1.Container) { c.SecurityContext = &v1.SecurityContext{RunAsNonRoot: new(true)} },
			in:   ContainerInput{ImageUser: ImageUser{Name: "app"}}, want: "non-numeric user (app)",
		},
		"seccomp profile outside its directory": {
			spec: func(c *v1.Container) {
				c.SecurityContext = &v1.SecurityContext{SeccompProfile: &v1.SeccompProfile{Type: "Localhost", LocalhostProfile: new("../x")}}
			},
			want: "leaves the node's seccomp directory",
		},
		"unknown stop signal": {
			spec: func(c *v1.Container) { c.Lifecycle = &v1.Lifecycle{StopSignal: new(v1.Signal("SIGFOO"))} },
			want: `"SIGFOO" is no signal`,
		},
		"recursively read-only and writable": {
			in: ContainerInput{Mounts: []Mount{{ContainerPath: "/c", RecursiveRO: true}}}, want: "recursively read-only",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := tt.in
			in.Pod = testPod(nil)
			in.Container = &in.Pod.Spec.Containers[0]
			if tt.spec != nil {
				tt.spec(in.Container)
			}
			if _, err := Container(in); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Container() error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestContainer_ChoosesUser(t *testing.T) {
	user := func(n int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: n} }
	tests := map[string]struct {
		sc    *v1.SecurityContext
		psc   *v1.PodSecurityContext
		image ImageUser
		want  *runtimeapi.LinuxContainerSecurityContext
	}{
		"of the image by number":       {image: ImageUser{UID: new(int64(5))}, want: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: user(5)}},
		"of the image by name":         {image: ImageUser{Name: "app"}, want: &runtimeapi.LinuxContainerSecurityContext{RunAsUsername: "app"}},
		"of the pod over the image's":  {psc: &v1.PodSecurityContext{RunAsUser: new(int64(6))}, image: ImageUser{Name: "app"}, want: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: user(6)}},
		"of the container over all":    {sc: &v1.SecurityContext{RunAsUser: new(int64(7))}, psc: &v1.PodSecurityContext{RunAsUser: new(int64(6))}, want: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: user(7)}},
		"root where a group is alone":  {psc: &v1.PodSecurityContext{RunAsGroup: new(int64(8))}, want: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: user(0), RunAsGroup: user(8)}},
		"nobody named leaves it unset": {want: &runtimeapi.LinuxContainerSecurityContext{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := testPod(func(p *v1.Pod) { p.Spec.SecurityContext, p.Spec.Containers[0].SecurityContext = tt.psc, tt.sc })
			c, err := Container(ContainerInput{Pod: p, Container: &p.Spec.Containers[0], ImageUser: tt.image})
			if err != nil {
				t.Fatal(err)
			}
			s := c.Linux.SecurityContext
			got := &runtimeapi.LinuxContainerSecurityContext{RunAsUser: s.RunAsUser, RunAsGroup: s.RunAsGroup, RunAsUsername: s.RunAsUsername}
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostname_FitsOneLabel(t *testing.T) {
	long := strings.Repeat("a", 62)
	tests := map[string]struct {
		spec v1.PodSpec
		name string
		want string
	}{
		"pod name":        {name: "web", want: "web"},
		"spec.hostname":   {name: "web", spec: v1.PodSpec{Hostname: "h"}, want: "h"},
		"override":        {name: "web", spec: v1.PodSpec{Hostname: "h", HostnameOverride: new("o.example")}, want: "o.example"},
		"override, cut":   {name: "web", spec: v1.PodSpec{HostnameOverride: new(long + ".ab")}, want: long},
		"cut":             {name: long + "bcd", want: long + "b"},
		"cut at a hyphen": {name: long + "-cd", want: long},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: tt.name}, Spec: tt.spec}
			if got := Hostname(p); got != tt.want {
				t.Errorf("Hostname() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNew_NamesTheRemedyForABadEndpoint(t *testing.T) {
	for _, endpoint := range []string{"", "tcp://127.0.0.1:1", "unix://run/x.sock", "run/x.sock", "unix://%zz"} {
		if _, err := New(endpoint); err == nil || !strings.Contains(err.Error(), "containerRuntimeEndpoint") {
			t.Errorf("New(%q) error %v, want the remedy", endpoint, err)
		}
	}
}
