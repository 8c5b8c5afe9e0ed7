package node

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// declared are the features without which the scheduler places no pod here that needs them, sorted (KEP-5328).
var declared = [...]string{"RestartAllContainersOnContainerExits"}

// Observation is what the rest of the agent knows of the node at a moment.
type Observation struct {
	RuntimeVersion string   // "containerd://2.4.2"
	NotReady       []string // what is wrong with the runtime, the network, ...; empty: the node is ready
	Pressure       Pressure
	Images         []v1.ContainerImage
	VolumesInUse   []v1.UniqueVolumeName
	Handlers       []v1.NodeRuntimeHandler
	Features       *v1.NodeFeatures
	Extended       v1.ResourceList // of device plugins; capacity and allocatable alike
}

// Facts are what of a node's status does not come from observation.
type Facts struct {
	Machine  Machine
	Reserved Reserved
	MaxPods  int64
	IPs      []netip.Addr
	Cloud    bool // its controller gives the addresses: those that are there stay
	Hostname string
	Port     int32  // of the HTTPS API; 0: the node has none
	Version  string // kubeletVersion, a semver: "v1.36.3"
	// MaxImages is how many images the status names, the largest ones (nodeStatusMaxImages); below zero all.
	MaxImages int
}

// Status is the node's status, computed from the one before (which holds what others own: their conditions, the attached
// volumes, addresses of a cloud provider), the facts and an observation.
func Status(old v1.NodeStatus, f Facts, o Observation, now time.Time) (v1.NodeStatus, error) {
	s := *old.DeepCopy()
	s.Capacity = f.Machine.capacity(f.MaxPods)
	allocatable, err := Allocatable(s.Capacity, f.Reserved)
	if err != nil {
		return old, fmt.Errorf("cannot compute what pods may use: %w", err)
	}
	s.Allocatable = allocatable
	for name, q := range old.Capacity { // extended resources that others have patched in stay
		if extended(name) {
			s.Capacity[name], s.Allocatable[name] = q, old.Allocatable[name]
		}
	}
	for name, q := range o.Extended {
		s.Capacity[name], s.Allocatable[name] = q, q
	}
	notReady := o.NotReady
	if len(f.IPs) == 0 && !f.Cloud {
		notReady = append(slices.Clip(notReady), "the node has no address: give one with --node-ip")
	}
	s.Conditions = Conditions(old.Conditions, o.Pressure, notReady, now)
	if !f.Cloud || len(old.Addresses) == 0 {
		s.Addresses = mergeAddresses(old.Addresses, addresses(f.IPs, f.Hostname))
	}
	s.DaemonEndpoints.KubeletEndpoint.Port = f.Port
	s.NodeInfo = f.info(o.RuntimeVersion)
	s.Images = largest(o.Images, f.MaxImages)
	s.VolumesInUse = slices.Sorted(slices.Values(o.VolumesInUse))
	s.RuntimeHandlers = o.Handlers
	s.Features = o.Features
	s.DeclaredFeatures = slices.Clone(declared[:])
	return s, nil
}

func (f Facts) info(runtime string) v1.NodeSystemInfo {
	m := f.Machine
	i := v1.NodeSystemInfo{
		MachineID: m.MachineID, SystemUUID: m.SystemUUID, BootID: m.BootID, KernelVersion: m.Kernel, OSImage: m.OSImage,
		ContainerRuntimeVersion: runtime, KubeletVersion: f.Version, OperatingSystem: m.OS, Architecture: m.Architecture,
	}
	if m.Swap > 0 {
		i.Swap = &v1.NodeSwapStatus{Capacity: new(m.Swap)}
	}
	return i
}

// extended reports whether a resource name is one of a device or of an operator: it has a domain, and not Kubernetes' own.
func extended(name v1.ResourceName) bool {
	for i, c := range name {
		if c == '/' {
			return name[:i] != "kubernetes.io"
		}
	}
	return false
}

// mergeAddresses keeps the addresses of types that the agent does not set (a cloud provider's ExternalIP).
func mergeAddresses(old, ours []v1.NodeAddress) []v1.NodeAddress {
	out := slices.Clone(ours)
	for _, a := range old {
		if a.Type != v1.NodeInternalIP && a.Type != v1.NodeHostName {
			out = append(out, a)
		}
	}
	return out
}

// largest are the n largest images; all below zero.
func largest(images []v1.ContainerImage, n int) []v1.ContainerImage {
	out := slices.Clone(images)
	slices.SortStableFunc(out, func(a, b v1.ContainerImage) int { return cmp.Compare(b.SizeBytes, a.SizeBytes) })
	if n < 0 {
		return out
	}
	return out[:min(len(out), n)]
}

// changed reports whether two statuses differ in more than their heartbeats.
func changed(a, b v1.NodeStatus) bool {
	still := func(s v1.NodeStatus) v1.NodeStatus {
		s.Conditions = slices.Clone(s.Conditions)
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime.Reset()
		}
		return s
	}
	return !equality.Semantic.DeepEqual(still(a), still(b))
}
