package node

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/csi"
)

// Runtime takes in what the container runtime says of itself.
func (o *Observation) Runtime(s cri.Status) {
	if !s.Runtime.Ready {
		o.NotReady = append(o.NotReady, "container runtime is not ready: "+s.Runtime.Reason+": "+s.Runtime.Message)
	}
	if !s.Network.Ready {
		o.NotReady = append(o.NotReady, "container runtime network not ready: "+s.Network.Reason+": "+s.Network.Message)
	}
	for _, h := range s.Handlers {
		o.Handlers = append(o.Handlers, v1.NodeRuntimeHandler{Name: h.Name, Features: &v1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: new(h.RecursiveReadOnly), UserNamespaces: new(h.UserNamespaces),
		}})
	}
	if s.SupplementalGroupsPolicy {
		o.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: new(true)}
	}
}

// Volumes takes in the volumes that pods use.
func (o *Observation) Volumes(inUse []csi.Ref) {
	for _, v := range inUse {
		o.VolumesInUse = append(o.VolumesInUse, v1.UniqueVolumeName("kubernetes.io/csi/"+v.Driver+"^"+v.Handle))
	}
}

// Pressed takes in the pressure that eviction sees.
func (o *Observation) Pressed(by []v1.NodeConditionType) {
	o.Pressure = Pressure{
		Memory: slices.Contains(by, v1.NodeMemoryPressure), Disk: slices.Contains(by, v1.NodeDiskPressure),
		PID: slices.Contains(by, v1.NodePIDPressure),
	}
}

// CSIDrivers is the form of drivers in a CSINode.
func CSIDrivers(drivers []csi.Driver) []storagev1.CSINodeDriver {
	var out []storagev1.CSINodeDriver
	for _, d := range drivers {
		n := storagev1.CSINodeDriver{Name: d.Name, NodeID: d.NodeID}
		for key := range d.Topology {
			n.TopologyKeys = append(n.TopologyKeys, key)
		}
		slices.Sort(n.TopologyKeys)
		if d.MaxVolumes > 0 {
			n.Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(d.MaxVolumes))}
		}
		out = append(out, n)
	}
	return out
}
