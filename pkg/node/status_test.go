package node_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/node"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestConditions_KeepTransitionTimesAndOthersConditions(t *testing.T) {
	before, now := metav1.NewTime(noon.Add(-time.Hour)), metav1.NewTime(noon)
	foreign := v1.NodeCondition{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse, LastTransitionTime: before}
	first := node.Conditions([]v1.NodeCondition{foreign}, node.Pressure{}, nil, before.Time)
	got := node.Conditions(first, node.Pressure{Memory: true}, []string{"container runtime is down", "no network"}, noon)
	want := []v1.NodeCondition{
		foreign,
		{Type: v1.NodeMemoryPressure, Status: v1.ConditionTrue, Reason: "KubeletHasInsufficientMemory",
			Message: "kubelet has insufficient memory available", LastHeartbeatTime: now, LastTransitionTime: now},
		{Type: v1.NodeDiskPressure, Status: v1.ConditionFalse, Reason: "KubeletHasNoDiskPressure",
			Message: "kubelet has no disk pressure", LastHeartbeatTime: now, LastTransitionTime: before},
		{Type: v1.NodePIDPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientPID",
			Message: "kubelet has sufficient PID available", LastHeartbeatTime: now, LastTransitionTime: before},
		{Type: v1.NodeReady, Status: v1.ConditionFalse, Reason: "KubeletNotReady",
			Message: "container runtime is down, no network", LastHeartbeatTime: now, LastTransitionTime: now},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("conditions (-want +got):\n%s", d)
	}
	last := first[len(first)-1]
	if last.Type != v1.NodeReady || last.Reason != "KubeletReady" || last.Message != "kubelet is posting ready status" {
		t.Errorf("a ready node says %+v", last)
	}
}

func TestAllocatable_LeavesWhatIsNotReserved(t *testing.T) {
	capacity := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("4"), v1.ResourceMemory: resource.MustParse("8Gi"),
		v1.ResourceEphemeralStorage: resource.MustParse("100Gi"), v1.ResourcePods: resource.MustParse("110"),
		"hugepages-2Mi": resource.MustParse("1Gi"),
	}
	for name, c := range map[string]struct {
		reserved node.Reserved
		want     map[v1.ResourceName]string
		err      string
	}{
		"nothing reserved": {want: map[v1.ResourceName]string{"cpu": "4", "memory": "7Gi", "ephemeral-storage": "100Gi", "pods": "110", "hugepages-2Mi": "1Gi"}},
		"all kinds": {
			reserved: node.Reserved{
				Kube:         v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("512Mi")},
				System:       v1.ResourceList{v1.ResourceMemory: resource.MustParse("256Mi")},
				EvictionHard: map[string]string{"memory.available": "256Mi", "nodefs.available": "10%", "imagefs.available": "15%"},
			},
			want: map[v1.ResourceName]string{"cpu": "3500m", "memory": "6Gi", "ephemeral-storage": "90Gi", "pods": "110", "hugepages-2Mi": "1Gi"},
		},
		"more than there is": {
			reserved: node.Reserved{Kube: v1.ResourceList{v1.ResourceCPU: resource.MustParse("5")}},
			want:     map[v1.ResourceName]string{"cpu": "0", "memory": "7Gi", "ephemeral-storage": "100Gi", "pods": "110", "hugepages-2Mi": "1Gi"},
		},
		"no percentage": {reserved: node.Reserved{EvictionHard: map[string]string{"memory.available": "200%"}}, err: `memory.available: "200%"`},
		"no quantity":   {reserved: node.Reserved{EvictionHard: map[string]string{"nodefs.available": "much"}}, err: `nodefs.available: "much"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := node.Allocatable(capacity, c.reserved)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want an error with %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := map[v1.ResourceName]string{}
			for k, q := range got {
				s[k] = q.String()
			}
			if d := cmp.Diff(c.want, s); d != "" {
				t.Errorf("allocatable (-want +got):\n%s", d)
			}
		})
	}
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestPickAddresses(t *testing.T) {
	lo := node.Interface{Name: "lo", Addresses: addrs("127.0.0.1", "::1")}
	bridge := node.Interface{Name: "cni0", Addresses: addrs("10.88.0.1")}
	uplink := node.Interface{Name: "eth0", Addresses: addrs("fe80::1", "2001:db8::7", "192.0.2.7"), Default: true}
	six := node.Interface{Name: "eth0", Addresses: addrs("fe80::1", "2001:db8::7"), Default: true}
	for name, c := range map[string]struct {
		asked      []netip.Addr
		interfaces []node.Interface
		want       []netip.Addr
		err        string
	}{
		"the default route's, IPv4 first":          {interfaces: []node.Interface{lo, bridge, uplink}, want: addrs("192.0.2.7")},
		"without a default route the first usable": {interfaces: []node.Interface{lo, bridge}, want: addrs("10.88.0.1")},
		"IPv6 where there is no other":             {interfaces: []node.Interface{lo, six}, want: addrs("2001:db8::7")},
		"loopback alone is none":                   {interfaces: []node.Interface{lo}, err: "--node-ip"},
		"asked for":                                {asked: addrs("192.0.2.9"), want: addrs("192.0.2.9")},
		"dual stack":                               {asked: addrs("192.0.2.9", "2001:db8::9"), want: addrs("192.0.2.9", "2001:db8::9")},
		"a family":                                 {asked: addrs("::"), interfaces: []node.Interface{uplink}, want: addrs("2001:db8::7")},
		"asked for loopback":                       {asked: addrs("127.0.0.1"), err: "does not reach a loopback"},
		"two of one family":                        {asked: addrs("192.0.2.9", "192.0.2.8"), err: "one of each family"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := node.PickAddresses(c.asked, c.interfaces)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, %v; want an error with %q", got, err, c.err)
				}
				return
			}
			if d := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || d != "" {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestReadMachine(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"etc/machine-id":                                           "abc\n",
		"etc/os-release":                                           "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"proc/meminfo":                                             "MemTotal:        1048576 kB\nMemFree: 5 kB\nSwapTotal:          2048 kB\n",
		"proc/sys/kernel/random/boot_id":                           "boot\n",
		"proc/sys/kernel/osrelease":                                "6.18.0\n",
		"sys/devices/system/cpu/online":                            "0-2,5\n",
		"sys/class/dmi/id/product_uuid":                            "UUID\n",
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":    "4\n",
		"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
	} {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := node.ReadMachine(root, root)
	if err != nil || got.RootFS == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	want := node.Machine{
		CPUs: 4, Memory: 1 << 30, Swap: 2 << 20, RootFS: got.RootFS, MachineID: "abc", SystemUUID: "UUID", BootID: "boot",
		HugePages: map[string]int64{"2Mi": 8 << 20, "1Gi": 0},
		Kernel:    "6.18.0", OSImage: "Debian GNU/Linux 12 (bookworm)", OS: got.OS, Architecture: got.Architecture,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("machine (-want +got):\n%s", d)
	}
	if _, err := node.ReadMachine(t.TempDir(), "/no/such/dir"); err == nil {
		t.Error("a machine without memory and file system is no error")
	}
}

// The addresses are the cloud controller's to give; until then the node goes by --node-ip, or by its name alone.
func TestStatus_LeavesAddressesToTheCloud(t *testing.T) {
	hostname, given := v1.NodeAddress{Type: v1.NodeHostName, Address: "n1"}, v1.NodeAddress{Type: v1.NodeInternalIP, Address: "192.0.2.7"}
	cloud := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "10.0.0.7"}, {Type: v1.NodeExternalIP, Address: "203.0.113.7"}}
	for name, c := range map[string]struct {
		ips       []netip.Addr
		old, want []v1.NodeAddress
	}{
		"nothing known": {want: []v1.NodeAddress{hostname}},
		"--node-ip":     {ips: addrs("192.0.2.7"), want: []v1.NodeAddress{given, hostname}},
		"the cloud's":   {ips: addrs("192.0.2.7"), old: cloud, want: cloud},
	} {
		s, err := node.Status(v1.NodeStatus{Addresses: c.old}, node.Facts{Cloud: true, IPs: c.ips, Hostname: "n1"}, node.Observation{}, noon)
		if d := cmp.Diff(c.want, s.Addresses); d != "" || err != nil || s.Conditions[len(s.Conditions)-1].Status != v1.ConditionTrue {
			t.Errorf("%s: %v, conditions %v, addresses (-want +got):\n%s", name, err, s.Conditions, d)
		}
	}
}

func TestRegistration_OfANodeInACloud(t *testing.T) {
	f := node.Facts{Hostname: "n1"}
	r := node.Registration{Name: "n1", ExternalCloud: true, Unschedulable: true, ProviderID: "test://n1", ProvidedIPs: addrs("192.0.2.7", "::")}
	const annotation = "alpha.kubernetes.io/provided-node-ip"
	n := r.New(f, v1.NodeStatus{})
	var taints []string
	for _, taint := range n.Spec.Taints {
		taints = append(taints, taint.ToString())
	}
	want := []string{"node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"}
	if d := cmp.Diff(want, taints); d != "" || n.Annotations[annotation] != "192.0.2.7" || n.Spec.ProviderID != "test://n1" || !n.Spec.Unschedulable {
		t.Errorf("a new Node: %+v %+v", n.ObjectMeta, n.Spec)
	}
	if patch, err := r.Adopt(n, f); patch != nil || err != nil {
		t.Errorf("its own Node is patched: %s, %v", patch, err)
	}
	plain := node.Registration{Name: "n1"}
	if patch, err := plain.Adopt(n, f); err != nil || !strings.Contains(string(patch), `"annotations":{"`+annotation+`":null}`) {
		t.Errorf("without a cloud: %s, %v", patch, err)
	}
	if _, has := plain.New(f, v1.NodeStatus{}).Annotations[annotation]; has {
		t.Error("without a cloud a new Node has its annotation")
	}
}

func TestStatus_NamesTheFiftyLargestImagesAndKeepsWhatOthersSet(t *testing.T) {
	var images []v1.ContainerImage
	for i := range int64(60) {
		images = append(images, v1.ContainerImage{Names: []string{"i"}, SizeBytes: i})
	}
	old := v1.NodeStatus{
		Capacity:    v1.ResourceList{"example.com/gpu": resource.MustParse("2"), "hugepages-64Ki": resource.MustParse("0")},
		Allocatable: v1.ResourceList{"example.com/gpu": resource.MustParse("2")},
		Addresses:   []v1.NodeAddress{{Type: v1.NodeExternalIP, Address: "203.0.113.1"}, {Type: v1.NodeInternalIP, Address: "192.0.2.1"}},
	}
	f := node.Facts{IPs: addrs("192.0.2.7"), Hostname: "n1", Port: 10250, Version: "v1.36.3", MaxImages: 50}
	s, err := node.Status(old, f, node.Observation{Images: images}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Images) != 50 || s.Images[0].SizeBytes != 59 {
		t.Errorf("%d images, the first of %d bytes", len(s.Images), s.Images[0].SizeBytes)
	}
	want := []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: "192.0.2.7"}, {Type: v1.NodeHostName, Address: "n1"}, {Type: v1.NodeExternalIP, Address: "203.0.113.1"},
	}
	if d := cmp.Diff(want, s.Addresses); d != "" {
		t.Errorf("addresses (-want +got):\n%s", d)
	}
	gpu := s.Allocatable["example.com/gpu"]
	if _, stale := s.Capacity["hugepages-64Ki"]; stale || gpu.Value() != 2 {
		t.Errorf("capacity %v", s.Capacity)
	}
}
