package resources

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func node() NodeFacts {
	return NodeFacts{
		Node: &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"disk": "ssd"}}},
		Allocatable: list("cpu", "2", "memory", "1Gi", "pods", "3", "ephemeral-storage", "10Gi", "hugepages-2Mi", "0",
			"example.com/gpu", "1"),
		KernelVersion: "6.18.5-generic", AllowedUnsafeSysctls: []string{"net.core.*", "kernel/msgmax"},
	}
}

// with makes a pod and changes it.
func with(changes ...func(*v1.Pod)) *v1.Pod {
	p := podOf(reqs(nil, nil))
	for _, change := range changes {
		change(p)
	}
	return p
}

func asking(pairs ...string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Spec.Containers[0].Resources.Requests = list(pairs...) }
}

func port(number int32, ip string, proto v1.Protocol) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Containers[0].Ports = []v1.ContainerPort{{ContainerPort: 80, HostPort: number, HostIP: ip, Protocol: proto}}
	}
}

func sysctl(name string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.SecurityContext = &v1.PodSecurityContext{Sysctls: []v1.Sysctl{{Name: name, Value: "1"}}}
	}
}

func static(p *v1.Pod) { p.Annotations = map[string]string{pod.AnnotationSource: "file"} }

func TestAdmit(t *testing.T) {
	tainted := node()
	tainted.Node.Spec.Taints = []v1.Taint{{Key: "a", Effect: v1.TaintEffectNoSchedule}, {Key: "b", Effect: v1.TaintEffectNoExecute}}
	memory, disk := node(), node()
	memory.Pressure = []v1.NodeConditionType{v1.NodeMemoryPressure}
	disk.Pressure = []v1.NodeConditionType{v1.NodeDiskPressure}
	tolerate := func(key string) func(*v1.Pod) {
		return func(p *v1.Pod) { p.Spec.Tolerations = []v1.Toleration{{Key: key, Operator: v1.TolerationOpExists}} }
	}

	for _, tc := range []struct {
		name    string
		node    NodeFacts
		running []*v1.Pod
		pod     *v1.Pod
		reason  string // "": admitted
		message string
	}{
		{"nothing asked", node(), nil, with(), "", ""},
		{"all of it", node(), nil, with(asking("cpu", "2", "memory", "1Gi")), "", ""},
		{"too much CPU", node(), []*v1.Pod{with(asking("cpu", "1500m"))}, with(asking("cpu", "501m", "memory", "2Gi")), "OutOfcpu", "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000"},
		{"too much memory", node(), nil, with(asking("memory", "2Gi")), "OutOfmemory", "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824"},
		{"too many pods", node(), []*v1.Pod{with(), with(), with()}, with(), "OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"},
		{"too much disk", node(), nil, with(asking("ephemeral-storage", "11Gi")), "OutOfephemeral-storage", "Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240"},
		{"too many devices", node(), []*v1.Pod{with(asking("example.com/gpu", "1"))}, with(asking("example.com/gpu", "1")), "OutOfexample.com/gpu", "Node didn't have enough resource: example.com/gpu, requested: 1, used: 1, capacity: 1"},
		{"a resource of the cluster", node(), nil, with(asking("example.com/license", "1")), "", ""},
		{"huge pages that the node lacks", node(), nil, with(asking("hugepages-1Gi", "1Gi")), "OutOfhugepages-1Gi", "Node didn't have enough resource: hugepages-1Gi, requested: 1073741824, used: 0, capacity: 0"},
		{"a name for which no log directory can be made", node(), nil, with(func(p *v1.Pod) {
			p.Namespace, p.Name, p.UID = strings.Repeat("n", 63), strings.Repeat("p", 160), "0123456789-0123456789-0123456789"
		}), "UnexpectedAdmissionError", "the name of the pod is too long: the name of its log directory, namespace_name_uid, would have 257 bytes, and a file system takes 255: shorten it by 2"},
		{"selector matches", node(), nil, with(func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }), "", ""},
		{"selector does not match", node(), nil, with(func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "tape"} }), "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		{"another node's", node(), nil, with(func(p *v1.Pod) { p.Spec.NodeName = "n2" }), "NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name"},
		{"another system's", node(), nil, with(func(p *v1.Pod) { p.Spec.OS = &v1.PodOS{Name: v1.Windows} }), "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"},
		{"another port", node(), []*v1.Pod{with(port(80, "", ""))}, with(port(81, "", "")), "", ""},
		{"another protocol", node(), []*v1.Pod{with(port(80, "", ""))}, with(port(80, "", v1.ProtocolUDP)), "", ""},
		{"another address", node(), []*v1.Pod{with(port(80, "10.0.0.1", ""))}, with(port(80, "10.0.0.2", "")), "", ""},
		{"port taken", node(), []*v1.Pod{with(port(80, "10.0.0.1", "TCP"))}, with(port(80, "0.0.0.0", "")), "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
		{"taint not tolerated", tainted, nil, with(), "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"},
		{"taint tolerated", tainted, nil, with(tolerate("b")), "", ""},
		{"taint on a static pod", tainted, nil, with(static), "", ""},
		{"safe sysctl", node(), nil, with(sysctl("net.ipv4.tcp_rmem")), "", ""},
		{"safe sysctl, slash form", node(), nil, with(sysctl("net/ipv4/tcp_rmem")), "", ""},
		{"sysctl allowed by pattern", node(), nil, with(sysctl("net.core.somaxconn")), "", ""},
		{"sysctl allowed by name", node(), nil, with(sysctl("kernel.msgmax")), "", ""},
		{"unsafe sysctl", node(), nil, with(sysctl("kernel.msgmni")), "SysctlForbidden", `forbidden sysctl: "kernel.msgmni" not allowlisted`},
		{"sysctl of the host's network", node(), nil, with(sysctl("net.ipv4.tcp_syncookies"), func(p *v1.Pod) { p.Spec.HostNetwork = true }), "SysctlForbidden", `forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled`},
		{"memory pressure, best effort", memory, nil, with(), "Evicted", "The node had condition: [MemoryPressure]. "},
		{"memory pressure, burstable", memory, nil, with(asking("cpu", "1m")), "", ""},
		{"memory pressure tolerated", memory, nil, with(tolerate(v1.TaintNodeMemoryPressure)), "", ""},
		{"disk pressure, burstable", disk, nil, with(asking("cpu", "1m")), "Evicted", "The node had condition: [DiskPressure]. "},
		{"disk pressure, critical", disk, nil, with(static), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want *pod.Verdict
			if tc.reason != "" {
				want = &pod.Verdict{Phase: v1.PodFailed, Reason: tc.reason, Message: tc.message}
			}
			if diff := cmp.Diff(want, Admit(tc.node, tc.running, tc.pod)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResize_WaitsForRoomOrNeverFits(t *testing.T) {
	for name, tt := range map[string]struct {
		others []*v1.Pod
		asks   []string
		want   string // the reason; "": granted
	}{
		"there is room":            {others: []*v1.Pod{with(asking("cpu", "1"))}, asks: []string{"cpu", "1"}},
		"others have it":           {others: []*v1.Pod{with(asking("cpu", "1"))}, asks: []string{"cpu", "1001m"}, want: v1.PodReasonDeferred},
		"more than the node's CPU": {asks: []string{"cpu", "2001m"}, want: v1.PodReasonInfeasible},
		"more than its memory":     {others: []*v1.Pod{with(asking("cpu", "2"))}, asks: []string{"cpu", "1", "memory", "2Gi"}, want: v1.PodReasonInfeasible},
	} {
		got := ""
		if why := Resize(node(), tt.others, with(asking(tt.asks...))); why != nil {
			got = why.Reason
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
